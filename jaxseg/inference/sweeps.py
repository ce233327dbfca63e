"""Recurrent context over a feature map on disk, in strips of whole rows or whole columns."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

POSITIONS = 2 ** 15  # of a strip, at most, if it is more than its least number of rows


class StoredMap:
    """A feature map (H, W, C) in a file, of which `map[top:bottom, left:right]` is read."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, int, int], dtype: np.dtype):
        self._path, self.shape, self.dtype = path, shape, dtype
        self._mapped('w+')

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._mapped('r')[key])

    def __setitem__(self, key: Any, values: np.ndarray):
        self._mapped('r+')[key] = values

    def _mapped(self, mode: str) -> np.ndarray:
        # For one access alone: pages that stay mapped count as memory of the process.
        return np.memmap(self._path, self.dtype, mode, shape=self.shape)


def run_sweeps(sweeps: Sequence[Any], source: StoredMap, folder: pathlib.Path,
               run: Callable[[int, list[np.ndarray], Any], tuple[np.ndarray, Any]]) -> StoredMap:
    """What a context layer gives for a map.

    Args:
      sweeps: of the layer, `layers.sweep.Sweep`.
      folder: for the maps.
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
                # One file for every map: `source` is on disk, too.
                result = StoredMap(folder / f'map{len(list(folder.iterdir()))}', shape, found.dtype)
            result[_place(sweep, start // sweep.patch, -(-stop // sweep.patch))] = found[0]
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
