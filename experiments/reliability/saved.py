"""What a tiny training saved: whether it can be read, and whether it is the same."""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from jaxseg.training.checkpoint import DELETED, ITEMS


def steps(workdir: pathlib.Path) -> list[int]:
    """The checkpoints of a work directory."""
    return sorted(int(path.name) for path in (workdir / 'checkpoints').glob('*')
                  if path.name.isdecimal())


def arrays(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """All leaves of a checkpoint, of the model and of the optimizer, read by Orbax alone."""
    found = {}
    for item in ITEMS:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            tree = checkpointer.restore(workdir.absolute() / 'checkpoints' / str(step) / item)
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        found |= {item + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return found


def wrong_end(workdir: pathlib.Path, step: int, expected: dict[str, np.ndarray]) -> list[str]:
    """What is wrong with a training of so many steps that must have ended with these arrays."""
    if steps(workdir)[-1:] != [step]:
        return [f'the checkpoints are {steps(workdir)}, expected {step} as the last']
    found = arrays(workdir, step)
    names = [name for name in {**expected, **found}
             if name not in found or name not in expected
             or found[name].dtype != expected[name].dtype
             or found[name].tobytes() != expected[name].tobytes()]
    return [f'{len(names)} arrays differ, such as {names[0]}'] if names else []


def unreadable(workdir: pathlib.Path) -> list[str]:
    """Checkpoints that the library itself cannot read."""
    found = []
    for step in steps(workdir):
        try:
            open_workdir(workdir).variables(str(step))
        except InputError as error:
            found.append(str(error))
    return found


def leftovers(workdir: pathlib.Path) -> list[str]:
    """Files and folders of a writing or deleting that was not finished."""
    names = [str(path.relative_to(workdir)) for pattern in ('*tmp*', '*.partial*', DELETED)
             for path in workdir.rglob(pattern)]
    return [f'left over: {", ".join(names[:5])}'] if names else []
