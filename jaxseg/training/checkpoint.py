"""Checkpoints of a run: the two latest, and the best by its score, written by Orbax."""

import contextlib
import math
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxseg.errors import printable
from jaxseg.processes import check_agreed, gathered, is_first
from jaxseg.records import read_record, write_record
from jaxseg.training.restore import disk_error, list_checkpoints, make_record, restore
from jaxseg.training.selection import NO_PROGRESS, Progress

ITEMS = ('model', 'training')
# Beside the checkpoints: what restoring found damaged, for whoever wants to repair it.
DAMAGED = 'damaged_checkpoints'
# Among the checkpoints: those that are no longer kept. Moving one there is atomic, deleting it is
# not: a kill would leave half of it.
DELETED = 'deleted'


class Checkpoints:
    """Writes checkpoints under `directory`.

    A checkpoint has two items: `model`, the variables of the model, which is all that evaluation
    and prediction read, and `training`, the rest of the algorithm's state. Its number is the number
    of steps done. Beside its score stands a digest of the leaves of each. Writing is asynchronous.
    Writing and deleting are atomic: a killed run leaves no half checkpoint, and what is left of an
    unfinished writing or deleting is removed here. Of several processes all call the same methods
    in the same order, and write into one folder.

    Attributes:
      progress: of the run, its validations until now included.
    """

    def __init__(self, directory: pathlib.Path, progress: Progress = NO_PROGRESS):
        # With max_to_keep and best_fn alone Orbax deletes the latest step when it is not the best.
        keep = preservation_policy.AnyPreservationPolicy([
            preservation_policy.LatestN(2),
            preservation_policy.BestN(get_metric_fn=lambda metrics: metrics['score'],
                                      reverse=False, n=1)])
        self._deleted = pathlib.Path(directory).absolute() / DELETED
        self._delete()  # what a killed run left
        self.progress = progress
        self._manager = ocp.CheckpointManager(
            self._deleted.parent,
            item_handlers={item: ocp.StandardCheckpointHandler() for item in ITEMS},
            options=ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics['score'], best_mode='max',
                preservation_policy=keep, create=True, cleanup_tmp_directories=True,
                todelete_subdir=DELETED))

    def save(self, step: int, state: Any, variables: Callable[[Any], Any], score: float | None):
        """Saves; of a step that is saved already, only the score. None or NaN is never the best.

        Args:
          step: number of steps done.
          state: of an algorithm, any pytree.
          variables: the algorithm's function from the state to the variables of the model.
          score: of a validation, the larger the better; None without one.
        """
        if score is not None:
            self.progress = self.progress.after(score, step)
        if step in self._manager.all_steps():
            if score is not None:
                self._add_score(step, score)
            return
        training = _without_shared(state, shared_leaves(variables, state))
        items = {name: tree for name, tree in (('model', variables(state)), ('training', training))
                 if jax.tree.leaves(tree)}
        args = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        record = make_record(_comparable(score), self.progress, items)
        self.wait()
        with self._disk_named():
            self._manager.save(step, force=True, metrics=record,
                               args=ocp.args.Composite(**args))

    def _add_score(self, step: int, score: float):
        """The score of a checkpoint that was saved without, when a stop left a validation out."""
        if is_first():
            path = self._deleted.parent / str(step) / 'metrics' / 'metrics'
            record = {**read_record(path), 'score': _comparable(score),
                      'progress': list(self.progress)}
            write_record(path, record)
        gathered(None)  # the new record is there for all
        self._manager.reload()

    def wait(self):
        """Returns when everything is written."""
        with self._disk_named():
            self._manager.wait_until_finished()
        self._delete()

    def close(self):
        """Waits until everything is written, then closes the directory."""
        try:
            self.wait()
        finally:
            with self._disk_named():
                self._manager.close()

    def _delete(self):
        if not is_first():
            return
        if self._deleted.is_symlink() or self._deleted.is_file():  # in a folder from somebody else
            self._deleted.unlink()
        shutil.rmtree(self._deleted, ignore_errors=True)

    @contextlib.contextmanager
    def _disk_named(self) -> Iterator[None]:
        """Turns errors of the disk, also those of an earlier writing, into OSError with the folder.
        """
        try:
            yield
        except Exception as error:
            named = disk_error(error, self._manager.directory)
            if named is None:
                raise
            raise named from error


def _comparable(score: float | None) -> float:
    return -math.inf if score is None or math.isnan(score) else score


def progress_at(directory: pathlib.Path, step: int) -> Progress:
    """That of the checkpoint of a step; at step 0 that of a new run."""
    return list_checkpoints(directory)[0][step].progress if step else NO_PROGRESS


def restore_state(directory: pathlib.Path, like: Any, variables: Callable[[Any], Any]
                  ) -> tuple[int, Any] | None:
    """Number of steps and state of the latest intact checkpoint, before a run continues.

    Checkpoints that are damaged are moved out of the way, so that their steps can be saved again,
    and named on stderr.

    Args:
      directory: of the checkpoints, which nobody may write at the same time.
      like: the shapes of the state of the algorithm.
      variables: its function from the state to the variables of the model.

    Returns:
      None where no checkpoint was saved yet.

    Raises:
      InputError: all checkpoints are damaged, or the latest does not fit.
    """
    directory = pathlib.Path(directory).absolute()
    there = any(list_checkpoints(directory))
    check_agreed(f'{directory}: there are checkpoints', there)
    if not there:
        return None
    shared = shared_leaves(variables, like)
    step, restored, damaged = restore(directory, 'latest', {
        'model': _placed(variables, like, shared), 'training': _without_shared(like, shared)})
    check_agreed(f'{directory}: latest checkpoint', step)
    for number, error in damaged.items() if is_first() else ():
        place = _set_aside(directory / str(number))
        print(printable(f'{error}; moved to {place}, continuing from checkpoint {step}'),
              file=sys.stderr)
    gathered(None)  # no process lists the checkpoints before the damaged ones are out of the way
    model, (leaves, structure) = jax.tree.leaves(restored['model']), _named_leaves(like)
    return step, jax.tree.unflatten(structure, [
        model[shared[index]] if index in shared else restored['training'][name]
        for index, name in enumerate(leaves)])


def _set_aside(checkpoint: pathlib.Path) -> pathlib.Path:
    """Moves a damaged checkpoint out of the folder of checkpoints."""
    folder = checkpoint.parents[1] / DAMAGED
    folder.mkdir(exist_ok=True)
    names = (f'{checkpoint.name}_{count}' for count in range(len(os.listdir(folder)) + 1))
    place = next(folder / name for name in names if not (folder / name).exists())
    return checkpoint.rename(place)


def shared_leaves(variables: Callable[[Any], Any], state: Any) -> dict[int, int]:
    """Which leaves of the state are leaves of `variables(state)`, too.

    Returns:
      `{index in the state: index in variables(state)}` of leaves that are the same array.
    """
    jaxpr = jax.make_jaxpr(variables)(state).jaxpr
    places = {id(variable): index for index, variable in enumerate(jaxpr.outvars)}
    return {index: places[id(variable)] for index, variable in enumerate(jaxpr.invars)
            if id(variable) in places}


def _placed(variables: Callable[[Any], Any], like: Any, shared: Mapping[int, int]) -> Any:
    """The shapes of `variables(like)`, with the shardings of `like`, which `eval_shape` drops."""
    shapes, structure = jax.tree.flatten(jax.eval_shape(variables, like))
    leaves = jax.tree.leaves(like)
    for index, place in shared.items():
        shapes[place] = leaves[index]
    return jax.tree.unflatten(structure, shapes)


def _without_shared(state: Any, shared: Mapping[int, int]) -> dict[str, Any]:
    """The leaves of a state that are not in the variables of the model, by name."""
    leaves, _ = _named_leaves(state)
    return {name: leaf for index, (name, leaf) in enumerate(leaves.items()) if index not in shared}


def _named_leaves(tree: Any) -> tuple[dict[str, Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator='.'): leaf for path, leaf in leaves}
    return named, structure
