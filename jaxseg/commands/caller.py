"""The program that calls `jaxseg.run`: a script that workers import again, or a notebook."""

import multiprocessing
from collections.abc import Mapping
from typing import Any

from jaxseg.commands.paths import command
from jaxseg.commands.trust import foreign_packages
from jaxseg.errors import InputError


def check_no_worker():
    """Raises InputError in a new process that imports the script of the process that started it.

    A worker of `config.workers` does so: where the script does not look at its `__name__`, each
    would train, too.
    """
    # multiprocessing itself looks at this attribute, to refuse a start of processes here.
    if getattr(multiprocessing.current_process(), '_inheriting', False):
        raise InputError("jaxseg.run: a worker that imports this script must not train, too; put "
                         "the call under if __name__ == '__main__':")


def next_command(purpose: str, subcommand: str, config: Mapping[str, Any], **arguments: Any) -> str:
    """The command that follows a run, with its purpose, such as 'score it: jaxseg evaluate ...'.

    No other process can import parts from `__main__`, such as those that a notebook defines: with
    them it is what to do instead.
    """
    trust = foreign_packages(config)
    if '__main__' in trust:
        return ("the command line cannot import parts from __main__: for it move them to a file, "
                "in a notebook by %%writefile my_parts.py, and train with type='my_parts:NAME'")
    return f'{purpose}: {command(subcommand, trust=trust, **arguments)}'
