"""Checkpoints of a run: the two latest, and the best by mIoU, written by Orbax."""

import contextlib
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxseg.errors import InputError

ITEMS = ('model', 'training')


class Checkpoints:
    """The checkpoints under `directory`.

    A checkpoint has two items: `model`, the variables of the model, which is all that evaluation
    and prediction read, and `training`, the rest of the algorithm's state. Its number is the number
    of steps done. Writing is asynchronous and atomic: a killed run leaves no half checkpoint. With
    `read_only` nothing on the disk changes: the run that writes here may still be alive.

    Raises:
      InputError: the score of a checkpoint cannot be read.
    """

    def __init__(self, directory: pathlib.Path, *, read_only: bool = False):
        directory = pathlib.Path(directory).absolute()
        # With max_to_keep and best_fn alone Orbax deletes the latest step when it is not the best.
        keep = preservation_policy.AnyPreservationPolicy([
            preservation_policy.LatestN(2),
            preservation_policy.BestN(get_metric_fn=lambda metrics: metrics['miou'],
                                      reverse=False, n=1)])
        try:
            # Orbax's option read_only does the same as the last two, but warns every time.
            self._manager = ocp.CheckpointManager(
                directory, item_handlers={item: ocp.StandardCheckpointHandler() for item in ITEMS},
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics['miou'], best_mode='max',
                    preservation_policy=keep, create=not read_only,
                    cleanup_tmp_directories=not read_only))
        except json.JSONDecodeError as error:
            scores = [path for path in directory.glob('*/metrics/metrics')
                      if path.read_text() == error.doc]
            raise _damaged(scores[0].parents[1] if scores else directory, error) from error

    def save(self, step: int, state: Any, variables: Callable[[Any], Any], miou: float | None):
        """Saves unless this step is saved already. `miou` None or NaN never counts as best.

        Args:
          step: number of steps done.
          state: of an algorithm, any pytree.
          variables: the algorithm's function from the state to the variables of the model.
        """
        if step in self._manager.all_steps():
            return
        score = -math.inf if miou is None or math.isnan(miou) else float(miou)
        training = _without_shared(state, shared_leaves(variables, state))
        self._manager.save(step, force=True, metrics={'miou': score}, args=ocp.args.Composite(
            model=ocp.args.StandardSave(variables(state)),
            training=ocp.args.StandardSave(training)))

    def latest(self) -> int | None:
        """Number of the last checkpoint, None before the first."""
        return self._manager.latest_step()

    def find(self, which: str) -> int:
        """The checkpoint called `'best'`, `'latest'` or by its number.

        Raises:
          InputError: there is no checkpoint, or none of this name.
        """
        steps = sorted(self._manager.all_steps())
        if not steps:
            raise InputError(f'{self._manager.directory}: no checkpoint yet; '
                             f'train until the first is saved')
        if which == 'latest':
            return steps[-1]
        if which == 'best':
            return self._manager.best_step() or steps[-1]
        if which not in map(str, steps):
            raise InputError(f'checkpoint {which!r} is not in {self._manager.directory}; '
                             f"give 'best', 'latest' or one of {', '.join(map(str, steps))}")
        return int(which)

    def exists(self, step: int) -> bool:
        """Whether a checkpoint still exists; a running training deletes old ones."""
        return (pathlib.Path(self._manager.directory) / str(step)).is_dir()

    def reload(self):
        """Reads the list of checkpoints from the disk again."""
        self._manager.reload()

    def restore_variables(self, step: int, like: Any) -> Any:
        """The variables of the model in a checkpoint, shaped `like` (arrays or ShapeDtypeStructs).

        Raises:
          InputError: the checkpoint is damaged, or does not fit.
        """
        return self._restore(step, {'model': like})['model']

    def restore_state(self, step: int, like: Any, variables: Callable[[Any], Any]) -> Any:
        """The whole state of an algorithm, shaped `like`.

        Raises:
          InputError: the checkpoint is damaged, or does not fit.
        """
        shared = shared_leaves(variables, like)
        restored = self._restore(step, {
            'model': jax.eval_shape(variables, like), 'training': _without_shared(like, shared)})
        model, (leaves, structure) = jax.tree.leaves(restored['model']), _named_leaves(like)
        return jax.tree.unflatten(structure, [
            model[shared[index]] if index in shared else restored['training'][name]
            for index, name in enumerate(leaves)])

    def wait(self):
        """Returns when everything is written."""
        self._manager.wait_until_finished()

    def close(self):
        """Waits until everything is written, then closes the directory."""
        self._manager.close()

    def _restore(self, step: int, items: Mapping[str, Any]) -> Any:
        """The items of a checkpoint, each shaped like its value here."""
        path = pathlib.Path(self._manager.directory) / str(step)
        with _errors_name(path):
            for name in items:
                _check_readable(path / name)
            saved = {name: _shapes(ocp.StandardCheckpointHandler().metadata(path / name))
                     for name in items}
        for name, like in items.items():
            _check_fit(path, saved[name], _shapes(like))
        args = {name: ocp.args.StandardRestore(_abstract(like)) for name, like in items.items()}
        with _errors_name(path):
            return self._manager.restore(step, args=ocp.args.Composite(**args))


def shared_leaves(variables: Callable[[Any], Any], state: Any) -> dict[int, int]:
    """Which leaves of the state are leaves of `variables(state)`, too.

    Returns:
      `{index in the state: index in variables(state)}` of leaves that are the same array.
    """
    jaxpr = jax.make_jaxpr(variables)(state).jaxpr
    places = {id(variable): index for index, variable in enumerate(jaxpr.outvars)}
    return {index: places[id(variable)] for index, variable in enumerate(jaxpr.invars)
            if id(variable) in places}


def _without_shared(state: Any, shared: Mapping[int, int]) -> dict[str, Any]:
    """The leaves of a state that are not in the variables of the model, by name."""
    leaves, _ = _named_leaves(state)
    return {name: leaf for index, (name, leaf) in enumerate(leaves.items()) if index not in shared}


def _named_leaves(tree: Any) -> tuple[dict[str, Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator='.'): leaf for path, leaf in leaves}
    return named, structure


@contextlib.contextmanager
def _errors_name(path: pathlib.Path) -> Iterator[None]:
    """Turns errors of reading a checkpoint into InputError."""
    try:
        yield
    except Exception as error:  # a dozen kinds at a damaged checkpoint, plain Exception among them
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [''])[0]
    return InputError(f'checkpoint {path} cannot be read ({type(error).__name__}: {reason}); '
                      f'if it is damaged remove this folder: the checkpoint before it is used then')


def _check_readable(path: pathlib.Path):
    """Reads a little of every part of an item.

    Orbax reads in threads: if one fails, the others print tracebacks.
    """
    for name in ('_METADATA', '_sharding', 'array_metadatas/*'):
        for file in path.glob(name):
            json.loads(file.read_text())
    base = {'driver': 'file', 'path': f'{path}/'}
    store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
    for key in store.list().result():
        # The last byte shows whether all of it is there; Tensorstore reads a missing file as empty.
        if not store.read(key, byte_range=slice(-1, None)).result().value:
            raise FileNotFoundError(f'nothing is left of {key.decode()}')


def _check_fit(path: pathlib.Path, saved: dict[str, tuple], wanted: dict[str, tuple]):
    """Orbax's own message names no parameter; this one names the parameter and both shapes."""
    for name in sorted(saved.keys() | wanted.keys()):
        there, here = saved.get(name, 'missing'), wanted.get(name, 'missing')
        if there != here:
            raise InputError(f'checkpoint {path} does not fit: '
                             f'{name} is {there} in the checkpoint and {here} in the config; '
                             f'use the config.json that it was trained with, or another --workdir')


def _abstract(tree: Any) -> Any:
    """Shapes, types and placement; leaves without arrays (eval_shape) go to the first device."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def abstract(x: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(x, 'sharding', None) or device
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(abstract, tree)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, 'shape'))
    return {'/'.join(str(getattr(key, 'key', key)) for key in path): tuple(leaf.shape)
            for path, leaf in leaves}
