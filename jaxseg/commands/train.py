"""Train the model of a config, or continue a run that was stopped."""

import argparse
from collections.abc import Sequence

from jaxseg.commands.paths import path_argument
from jaxseg.commands.training import run
from jaxseg.commands.workdir import merged_config


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--config',
                        help='experiment file; without it the run in --workdir continues')
    parser.add_argument('--workdir', required=True, help='folder that receives all of the run')
    parser.epilog = 'Any key of the config: --config.optimizer.learning_rate=3e-4'


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the subcommand; 130 when a signal stopped it."""
    path_argument(arguments.workdir, '--workdir')
    config = merged_config(arguments.config, arguments.workdir, overrides, arguments.trust)
    return 0 if run(**config, workdir=arguments.workdir) else 130
