"""The command line: one subcommand a file, `jaxseg SUBCOMMAND ...`.

Exit status: 0, 1 for a loss that is not finite and for a problem that `doctor` found, 2 for input
that cannot be used, 128 + the number of a signal that stopped it (130 for Ctrl-C, and for a
training that was stopped and saved). Of several processes all end with the status of the first that
ends, which is 75 where another one is lost.
"""

import argparse
import contextlib
import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NoReturn

from jaxseg.commands import processes
from jaxseg.commands.compilation_cache import import_jax, use_compilation_cache
from jaxseg.commands.malloc import tune_malloc
from jaxseg.commands.signals import Interrupted, signals_handled
from jaxseg.errors import InputError, printable

SUBCOMMANDS = {
    'plan': 'write an experiment file for a folder, with a reason for every choice',
    'train': 'train the model of a config, or continue a run that was stopped',
    'evaluate': 'score a trained model on a split',
    'baseline': 'score k-means or a random forest on the data of an experiment',
    'report': 'write one HTML page on a trained model: curves, scores, images, warnings',
    'compare': 'compare the scores of runs on the same images, with bootstrap intervals',
    'crossvalidate': 'train and score one model for each fold of a data set',
    'predict': 'write masks, overlays, probabilities or polygons of images',
    'explain': 'draw what a prediction of a trained model depends on, for one image',
    'inspect': 'check every file of a data set, and draw augmented training samples',
    'export': 'write a trained model as a file that runs without jaxseg (StableHLO, ONNX)',
    'export-weights': 'write the weights of a trained model to one file',
    'doctor': 'check the installation and this machine, with a short training',
    'models': 'list encoders, context layers, decoders and sources of weights',
}
LOST = 75  # as sysexits.h has it: a temporary failure
# Libraries that add up over processes, in their errors.
COLLECTIVE = re.compile('Gloo|NCCL')


def program() -> int:
    """The console script: `main`, with signals handled until everything is closed."""
    sys.unraisablehook = _print_unraisable
    with signals_handled(exits=True):
        return main()


def _print_unraisable(unraisable: Any):
    """Leaves out what Tensorstore prints for every array once Orbax has given up a checkpoint."""
    if str(unraisable.exc_value) != 'Event loop is closed':
        sys.__unraisablehook__(unraisable)


class _Parser(argparse.ArgumentParser):
    """Reports errors like those of all other input, in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError instead of printing the usage."""
        raise InputError(f'{message}; see {self.prog} --help')


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        # Names of files and classes that an ASCII terminal cannot print must not end a job.
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    name = argv[0] if argv and argv[0] in SUBCOMMANDS else ''
    group = processes.Group(name)
    try:
        with signals_handled() as handler:
            if handler is not None:
                handler.exit = group.exit
            return _run(argv, name, group)
    except BaseException as error:
        explained = _explained(error)
        if explained is None:
            group.fail(1, traceback.format_exc())
            raise
        message, status = printable(explained[0]), explained[1]
        group.fail(status, message)
        print(f'{" ".join(("jaxseg", name)).strip()}: {message}', file=sys.stderr)
        return status


def _explained(error: BaseException) -> tuple[str, int] | None:
    """What is printed and the exit status; None for an exception that the library did not mean."""
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, FloatingPointError):
        return str(error), 1
    if isinstance(error, MemoryError):
        return f'out of memory ({error}); use smaller images, batches or models', 2
    if isinstance(error, RuntimeError) and 'RESOURCE_EXHAUSTED' in str(error):  # of JAX
        return (f'out of memory ({str(error).splitlines()[0]}); use smaller images, batches or '
                f'models', 2)
    if isinstance(error, RuntimeError) and COLLECTIVE.search(str(error)):
        return (f'the connection to another process is lost ({str(error).splitlines()[0]}); the '
                f'same command continues from the last checkpoint', LOST)
    if isinstance(error, OSError):
        place = f': {error.filename}' if error.filename else ''
        return f'{error.strerror or error}{place}', 2
    if isinstance(error, Interrupted):
        return f'interrupted by {error}', error.status
    return ('interrupted', 130) if isinstance(error, KeyboardInterrupt) else None


def _run(argv: Sequence[str], name: str, group: processes.Group) -> int:
    tune_malloc()
    # Orbax warns of what is missing, and its threads log tracebacks of errors that it raises too.
    for logger in ('absl', 'asyncio'):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    parser = _Parser(prog='jaxseg', description='Image segmentation in JAX.')
    subparsers = parser.add_subparsers(dest='subcommand', required=True, metavar='SUBCOMMAND')
    for subcommand, line in SUBCOMMANDS.items():
        subparser = subparsers.add_parser(subcommand, help=line,
                                          description=f'{line.capitalize()}.', allow_abbrev=False)
        if subcommand == name:  # Only this one is imported: JAX takes seconds to start.
            with _environment_named():
                import_jax()
            _add_arguments(subparser, name)
    arguments, overrides = parser.parse_known_args(argv)
    prefix = getattr(_module(name), 'OVERRIDES', '--config.')
    unknown = [item for item in overrides if not item.startswith(prefix)]
    if unknown:
        raise InputError(f'unknown argument {unknown[0]!r}; '
                         f'see jaxseg {name} --help, and write keys as {prefix}key=value')
    if name in processes.SUBCOMMANDS:
        group.join(arguments, os.environ)
    else:
        processes.refuse_several(name, os.environ)
    with _environment_named():
        importlib.import_module('jax').devices()
    use_compilation_cache()
    status = _module(name).main(arguments, overrides) or 0
    group.leave()
    return status


def _add_arguments(parser: argparse.ArgumentParser, name: str):
    _module(name).add_arguments(parser)
    parser.add_argument('--trust', action='append', default=[], metavar='PACKAGE',
                        help='package outside of jaxseg whose parts the work directory may use; '
                             'can be repeated')
    if name in processes.SUBCOMMANDS:
        processes.add_arguments(parser)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f'jaxseg.commands.{name.replace("-", "_")}')


@contextlib.contextmanager
def _environment_named() -> Iterator[None]:
    """Raises InputError if JAX does not start, as with a platform that does not exist."""
    try:
        yield
    except Exception as error:  # RuntimeError, ValueError, and what plugins of devices raise
        reason = (str(error).splitlines() or [''])[0]
        given = ' '.join(f'{name}={value}' for name, value in os.environ.items()
                         if name.startswith(('JAX_', 'XLA_')))
        raise InputError(f'JAX does not start ({type(error).__name__}: {reason}); check the '
                         f'variables of the environment: {given or "no JAX_ or XLA_ is set"}'
                         ) from error
