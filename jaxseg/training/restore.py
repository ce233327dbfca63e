"""Reading checkpoints: those that are intact, and whether they are what was saved."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from jax.experimental import multihost_utils

from jaxseg.errors import InputError, printable
from jaxseg.records import read_record, sealed
from jaxseg.training.selection import Progress

# How often a checkpoint is searched again if a running training has just replaced it.
ATTEMPTS = 20
# Errors of the machine, not of the files of a checkpoint.
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Damaged(InputError):
    """The files of a checkpoint are not those that were saved."""


class Checkpoint(NamedTuple):
    """An intact record of a checkpoint: its score, and two digests of every item.

    `progress` is that of the run until then. `shapes` are digests of the names, types and shapes of
    all leaves, `values` of what they hold.
    """

    path: pathlib.Path
    score: float
    progress: Progress
    shapes: Mapping[str, str]
    values: Mapping[str, str]


def make_record(score: float, progress: Progress, items: Mapping[str, Any]) -> dict[str, Any]:
    """What is saved beside the items of a checkpoint, sealed.

    Args:
      score: by which the best checkpoint is found.
      items: those that have leaves: Orbax saves no empty ones, so that an item which is not in the
        record is empty.
    """
    return sealed({'score': score, 'progress': list(progress),
                   'shapes': {name: _shapes_digest(_shapes(tree)) for name, tree in items.items()},
                   'values': {name: _values_digest(tree) for name, tree in items.items()}})


def _shapes_digest(shapes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _values_digest(tree: Any) -> str:
    digest = hashlib.sha256()
    for _, leaf in sorted(_named(tree).items()):
        digest.update(np.ascontiguousarray(_on_host(leaf)).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _on_host(leaf: Any) -> Any:
    """All of an array, of which devices of other processes may hold a part."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return multihost_utils.process_allgather(leaf, tiled=True)
    return jax.device_get(leaf)


def list_checkpoints(directory: pathlib.Path) -> tuple[dict[int, Checkpoint], dict[int, Damaged]]:
    """The checkpoints by number of steps, and those whose record is damaged.

    A checkpoint is an item `metrics`, the record, and one folder for every other item.
    """
    found, damaged = {}, {}
    folders = directory.iterdir() if directory.is_dir() else ()
    for path in sorted(path for path in folders if path.name.isdecimal()):
        try:
            record = read_record(path / 'metrics' / 'metrics')
            progress = Progress(*record.pop('progress'))
            found[int(path.name)] = Checkpoint(path, progress=progress, **record)
        except InputError as error:
            damaged[int(path.name)] = Damaged(f'checkpoint {path} is damaged ({error})')
    return found, damaged


def find(directory: pathlib.Path, checkpoints: Mapping[int, Checkpoint], which: str) -> int:
    """The number of the checkpoint called `'best'`, `'latest'` or by its number.

    Raises:
      InputError: there is no checkpoint, or none of this name.
    """
    steps = sorted(checkpoints)
    if not steps:
        raise InputError(f'{directory}: no checkpoint yet; train until the first is saved')
    if which == 'latest':
        return steps[-1]
    if which == 'best':
        return max(steps, key=lambda step: (checkpoints[step].score, step))
    if which not in map(str, steps):
        raise InputError(f'checkpoint {which!r} is not in {directory}; '
                         f"give 'best', 'latest' or one of {', '.join(map(str, steps))}")
    return int(which)


def restore(directory: pathlib.Path, which: str, items: Mapping[str, Any]
            ) -> tuple[int, dict[str, Any], dict[int, Damaged]]:
    """Reads a checkpoint; in place of a damaged one the best or latest of those that are intact.

    Args:
      directory: of all checkpoints.
      which: 'best', 'latest' or a number of steps, for which there is no substitute.
      items: the shapes of what is read (arrays or ShapeDtypeStructs), by item.

    Returns:
      The number of steps, the items, and what is damaged, by number of steps.

    Raises:
      InputError: no such checkpoint, all are damaged, or it does not fit the items.
    """
    bad: dict[int, Damaged] = {}
    for _ in range(ATTEMPTS):
        checkpoints, damaged = list_checkpoints(directory)
        bad = {step: error for step, error in (damaged | bad).items()
               if (directory / str(step)).is_dir()}
        named = [error for step, error in bad.items() if str(step) == which]
        if named:
            raise named[0]
        intact = {step: found for step, found in checkpoints.items() if step not in bad}
        if bad and not intact:
            raise InputError(f'{bad[max(bad)]}; no intact checkpoint is left in {directory}: '
                             f'restore the files, or train again in another --workdir')
        step = find(directory, intact, which)
        try:
            return step, _read(intact[step], items), bad
        except Damaged as error:  # or replaced by a running training: then the list is another
            bad[step] = error
    raise InputError(f'{directory}: every checkpoint vanished before it was read; '
                     f'does a training run there that saves this often?')


def restore_variables(directory: pathlib.Path, which: str, like: Any) -> tuple[int, Any]:
    """Number of steps and variables of the model, shaped `like`; names what is damaged on stderr.

    Raises:
      InputError: as `restore`.
    """
    step, items, bad = restore(directory, which, {'model': like})
    for error in bad.values():
        print(printable(f'{error}; checkpoint {step} is used'), file=sys.stderr)
    return step, items['model']


def _read(checkpoint: Checkpoint, items: Mapping[str, Any]) -> dict[str, Any]:
    """The items of a checkpoint, each shaped like its value here.

    Raises:
      Damaged: a file is missing or unreadable, or the leaves are not those that were saved.
      InputError: the items have other leaves.
    """
    path = checkpoint.path
    present = {name: like for name, like in items.items() if name in checkpoint.shapes}
    with _damage_named(path):
        for name in present:
            _check_readable(path / name)
    for name, like in items.items():
        shapes, recorded = _shapes(like), checkpoint.shapes.get(name)
        # Those in the files are read for a message only: it takes as long as half of the restoring,
        # which compares them once more.
        if _shapes_digest(shapes) != recorded:
            _check_fit(path, _saved_shapes(path / name, recorded) if recorded else {}, shapes)
    restored = dict(items)  # those that are not present have no leaf to read
    for name, like in present.items():
        with _damage_named(path), _checkpointer() as checkpointer:
            restored[name] = checkpointer.restore(
                path / name, args=ocp.args.StandardRestore(_abstract(like)))
        if _values_digest(restored[name]) != checkpoint.values[name]:
            raise Damaged(f'checkpoint {path} is damaged (the values in {name} '
                          f'are not those that were saved)')
    return restored


def _saved_shapes(path: pathlib.Path, digest: str) -> dict[str, str]:
    """The shapes of an item by name, if their digest is that of the record.

    Raises:
      Damaged: it is not.
    """
    with _damage_named(path.parent):
        saved = _shapes(ocp.StandardCheckpointHandler().metadata(path))
    if _shapes_digest(saved) != digest:
        raise Damaged(f'checkpoint {path.parent} is damaged (the shapes in {path.name} '
                      f'are not those that were saved)')
    return saved


def _checkpointer() -> ocp.Checkpointer:
    """Reads without waiting for other processes: of several each reads by itself."""
    alone = ocp.options.MultiprocessingOptions(primary_host=jax.process_index(),
                                               active_processes={jax.process_index()})
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                            multiprocessing_options=alone)


@contextlib.contextmanager
def _damage_named(path: pathlib.Path) -> Iterator[None]:
    """Turns errors of reading a checkpoint into `Damaged`, but for those of the machine."""
    try:
        yield
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # a dozen kinds at a damaged checkpoint, plain Exception among them
        named = disk_error(error, path)
        if named is not None and named.errno in OF_THE_MACHINE:
            raise named from error
        if 'RESOURCE_EXHAUSTED' in str(error):  # too little memory of a device
            raise
        # Tensorstore appends a whole specification to its messages.
        reason = re.split(r'\n| See full | \[tensorstore_spec=', str(error))[0]
        raise Damaged(f'checkpoint {path} is damaged ({type(error).__name__}: {reason})'
                      ) from error


def disk_error(error: Exception, place: pathlib.Path) -> OSError | None:
    """An error of the disk as OSError with its file, or else with the place; None for another one.

    Tensorstore, which Orbax uses, raises ValueError and has the number in its message.
    """
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else getattr(error, 'errno', None)
    if number is None:
        return None
    return OSError(number, os.strerror(number), str(getattr(error, 'filename', None) or place))


def _check_readable(path: pathlib.Path):
    """Reads every part of an item.

    Orbax reads in threads and coroutines: if one fails, the others print tracebacks.
    """
    for name in ('_sharding', 'array_metadatas/*'):
        for file in path.glob(name):
            json.loads(file.read_text())
    (path / 'manifest.ocdbt').stat()  # without it Tensorstore finds an empty store, not an error
    base = {'driver': 'file', 'path': f'{path}/'}
    store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
    keys = [key.decode() for key in store.list().result()]
    arrays = json.loads((path / '_METADATA').read_text())['tree_metadata'].values()
    for name in ('.'.join(str(key['key']) for key in array['key_metadata']) for array in arrays
                 if array['value_metadata']['value_type'] == 'jax.Array'):
        if f'{name}/.zarray' not in keys:
            raise FileNotFoundError(f'no array {name}')
    for key in keys:
        # The last byte shows whether all of it is there; Tensorstore reads a missing file as empty.
        if not store.read(key, byte_range=slice(-1, None)).result().value:
            raise FileNotFoundError(f'nothing is left of {key}')
        if key.endswith('/.zarray'):
            kvstore = {'driver': 'ocdbt', 'base': base, 'path': key.removesuffix('.zarray')}
            tensorstore.open({'driver': 'zarr', 'kvstore': kvstore}).result().read().result()


def _check_fit(path: pathlib.Path, saved: dict[str, str], wanted: dict[str, str]):
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


def _shapes(tree: Any) -> dict[str, str]:
    return {name: f'{leaf.dtype} {tuple(leaf.shape)}' for name, leaf in _named(tree).items()}


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by their place, the same in a pytree, its shapes and what Orbax restores."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, 'shape'))
    return {'/'.join(str(getattr(key, 'key', key)) for key in path): leaf for path, leaf in leaves}
