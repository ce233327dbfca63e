"""Checkpoints of a run: the two latest, and the best by mIoU, written by Orbax."""

import math
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxseg.errors import InputError
from jaxseg.training.state import TrainState


class Checkpoints:
    """The checkpoints under `directory`.

    A checkpoint has two items: `model` (parameters and running statistics: all that evaluation and prediction read) and
    `optimizer`. Its number is the number of steps done. Writing is asynchronous and atomic: a killed run leaves no half
    checkpoint.
    """

    def __init__(self, directory: pathlib.Path):
        # With a plain max_to_keep and best_fn Orbax deletes the latest step when it is not among the best.
        keep = preservation_policy.AnyPreservationPolicy([
            preservation_policy.LatestN(2),
            preservation_policy.BestN(get_metric_fn=lambda metrics: metrics['miou'], reverse=False, n=1)])
        self._manager = ocp.CheckpointManager(
            pathlib.Path(directory).absolute(),
            item_handlers={item: ocp.StandardCheckpointHandler() for item in ('model', 'optimizer')},
            options=ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics['miou'], best_mode='max', preservation_policy=keep,
                cleanup_tmp_directories=True))

    def save(self, state: TrainState, miou: float | None):
        """Saves unless this step is saved already. `miou` None or NaN never counts as best."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        score = -math.inf if miou is None or math.isnan(miou) else float(miou)
        self._manager.save(step, force=True, metrics={'miou': score}, args=ocp.args.Composite(
            model=ocp.args.StandardSave(state.variables), optimizer=ocp.args.StandardSave(state.opt_state)))

    def latest(self) -> int | None:
        """Number of the last checkpoint, None before the first."""
        return self._manager.latest_step()

    def find(self, which: str) -> int:
        """The checkpoint called `'best'`, `'latest'` or by its number.

        Raises:
          InputError: there is none, or no such.
        """
        steps = sorted(self._manager.all_steps())
        if not steps:
            raise InputError(f'{self._manager.directory}: no checkpoint yet; train until the first is saved')
        if which == 'latest':
            return steps[-1]
        if which == 'best':
            return self._manager.best_step() or steps[-1]
        if not which.isdigit() or int(which) not in steps:
            raise InputError(f'checkpoint {which!r} is not in {self._manager.directory}; '
                             f"give 'best', 'latest' or one of {', '.join(map(str, steps))}")
        return int(which)

    def restore_variables(self, step: int, like: Any) -> Any:
        """Parameters and running statistics of a checkpoint, shaped `like` (arrays or ShapeDtypeStructs)."""
        self._check_fit(step, like)
        args = ocp.args.Composite(model=ocp.args.StandardRestore(_abstract(like)))
        return self._manager.restore(step, args=args)['model']

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """The whole state of a checkpoint, on the device of `like`."""
        self._check_fit(step, like.variables)
        restored = self._manager.restore(step, args=ocp.args.Composite(
            model=ocp.args.StandardRestore(_abstract(like.variables)),
            optimizer=ocp.args.StandardRestore(_abstract(like.opt_state))))
        return like.replace(step=jax.numpy.asarray(step, like.step.dtype), opt_state=restored['optimizer'],
                            **restored['model'])

    def wait(self):
        """Returns when everything is written."""
        self._manager.wait_until_finished()

    def close(self):
        """Waits, then lets go of the directory."""
        self._manager.close()

    def _check_fit(self, step: int, like: Any):
        """Orbax's own message names no parameter; this one names the parameter and both shapes."""
        saved = _shapes(self._manager.item_metadata(step)['model'])
        wanted = _shapes(like)
        where = f'checkpoint {self._manager.directory}/{step} does not fit the model'
        remedy = 'use the config.json that it was trained with, or another --workdir'
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise InputError(f'{where}: {name} is {saved.get(name, "missing")} in the checkpoint and '
                                 f'{wanted.get(name, "missing")} in the model; {remedy}')


def _abstract(tree: Any) -> Any:
    """Shapes, types and placement; what was only described (eval_shape) goes to the first device."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, 'sharding', None) or device),
                        tree)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, 'shape'))
    return {'/'.join(str(getattr(key, 'key', key)) for key in path): tuple(leaf.shape) for path, leaf in leaves}
