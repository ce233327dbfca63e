"""Recurrent context over a feature map on disk, in strips of whole rows or whole columns."""

import math
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxseg.errors import InputError

POSITIONS = 2 ** 15  # of a strip, at most, if it is more than its least number of rows


class StoredMap:
    """A feature map (H, W, C) in a file, of which `map[top:bottom, left:right]` is read.

    Raises:
      InputError: the folder has less space than the map takes.
    """

    def __init__(self, path: pathlib.Path, shape: tuple[int, int, int], dtype: np.dtype):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        # The file takes space only where it is written, and a disk that is full by then ends the
        # process with SIGBUS, without a message.
        needed, free = math.prod(shape) * self.dtype.itemsize, shutil.disk_usage(path.parent).free
        if needed > free:
            raise InputError(f'inference: exact.Exact: a feature map {shape} takes '
                             f'{needed / 2 ** 30:.3g} GiB on disk, and {path.parent} has '
                             f'{free / 2 ** 30:.3g} GiB left; set TMPDIR to a folder with more '
                             f'space')
        self._mapped('w+')

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._mapped('r')[key])

    def __setitem__(self, key: Any, values: np.ndarray):
        self._mapped('r+')[key] = values

    def _mapped(self, mode: str) -> np.ndarray:
        # For one access alone: pages that stay mapped count as memory of the process.
        return np.memmap(self.path, self.dtype, mode, shape=self.shape)


def run_sweeps(sweeps: Sequence[Any], source: StoredMap,
               run: Callable[[int, list[np.ndarray], Any], tuple[np.ndarray, Any]]) -> StoredMap:
    """What a context layer gives for a map.

    The file of a map, that of `source` too, is deleted after the last sweep that reads it.

    Args:
      sweeps: of the layer, `layers.sweep.Sweep`.
      source: the input of the layer; the files of the other maps are beside its own.
      run: (index of the sweep, strips (1, h, w, C) of its maps, state) -> (strip of the result,
        state); the state of the first strip is None.
    """
    maps, patches = [source], [1]
    unit = 2 * max(sweep.patch for sweep in sweeps)
    for index, sweep in enumerate(sweeps):
        result = None
        sides = source.shape[:2][::-1] if sweep.columns else source.shape[:2]
        state = None
        for start, stop in _strips(*sides, unit, sweep.carry):
            strips = [maps[number][_place(sweep, start // patches[number],
                                          -(-stop // patches[number]))][None]
                      for number in sweep.maps]
            found, state = run(index, strips, state if sweep.carry else None)
            if result is None:
                shape = (*(-(-side // sweep.patch) for side in source.shape[:2]), found.shape[-1])
                file = source.path.with_name(f'{source.path.name}.{index}')
                result = StoredMap(file, shape, found.dtype)
            result[_place(sweep, start // sweep.patch, -(-stop // sweep.patch))] = found[0]
        read_later = {number for later in sweeps[index + 1:] for number in later.maps}
        for number in set(range(len(maps))) - read_later:
            maps[number].path.unlink(missing_ok=True)
        maps.append(result)
        patches.append(sweep.patch)
    return maps[-1]


def _strips(side: int, other: int, unit: int, carry: int) -> list[tuple[int, int]]:
    """[start, stop) of the strips in the order in which the state is handed on."""
    length = max(unit, POSITIONS // other // unit * unit)
    found = [(start, min(start + length, side)) for start in range(0, side, length)]
    return found[::-1] if carry < 0 else found


def _place(sweep: Any, start: int, stop: int) -> tuple[slice, ...]:
    strip = slice(start, stop)
    return (slice(None), strip) if sweep.columns else (strip,)
