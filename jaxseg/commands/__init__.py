"""The command line: one verb a file, `jaxseg VERB ...`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from jaxseg.commands.memory import keep_memory
from jaxseg.errors import InputError

VERBS = {
    'train': 'train the model of a config, or go on where a run was stopped',
    'evaluate': 'score a trained model on a split',
    'predict': 'write masks and overlays for images',
    'inspect': 'check every file of a data set, and look at what training will see',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit status: 0, 2 for bad input, 1 for a loss that is not finite, 130 when stopped."""
    argv = sys.argv[1:] if argv is None else list(argv)
    keep_memory()
    parser = argparse.ArgumentParser(prog='jaxseg', description='Image segmentation in JAX.')
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for verb, line in VERBS.items():
        subparser = verbs.add_parser(verb, help=line, description=f'{line.capitalize()}.')
        if argv[:1] == [verb]:  # Only the verb that is asked for is imported: JAX takes seconds to start.
            importlib.import_module(f'jaxseg.commands.{verb}').add_arguments(subparser)
    arguments, overrides = parser.parse_known_args(argv)
    try:
        unknown = [item for item in overrides if not item.startswith('--config.')]
        if unknown:
            raise InputError(f'unknown argument {unknown[0]!r}; see jaxseg {arguments.verb} --help, '
                             f'and write config keys as --config.key=value')
        module = importlib.import_module(f'jaxseg.commands.{arguments.verb}')
        return module.main(arguments, overrides) or 0
    except InputError as error:
        print(f'jaxseg {arguments.verb}: {error}', file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f'jaxseg {arguments.verb}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'jaxseg {arguments.verb}: interrupted', file=sys.stderr)
        return 130
