"""Resizing of one pixel after the other, by the formulas of area and of bilinear weights."""

import math

import numpy as np


def resize_by_hand(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) at (height, width), float64: first the sides that shrink, then those that grow."""
    result = np.asarray(array, float)
    for axis in (0, 1):
        if size[axis] < result.shape[axis]:
            result = _along(result, size[axis], axis, _area)
    for axis in (0, 1):
        if size[axis] > result.shape[axis]:
            result = _along(result, size[axis], axis, _bilinear)
    return result


def _along(array: np.ndarray, length: int, axis: int, weights) -> np.ndarray:
    lines = np.moveaxis(array, axis, 0)
    new = [sum(weight * lines[place] for place, weight in weights(i, length, len(lines)).items())
           for i in range(length)]
    return np.moveaxis(np.array(new), 0, axis)


def _area(index: int, length: int, before: int) -> dict[int, float]:
    """The share of every old pixel in the new one."""
    first, last = index * before / length, (index + 1) * before / length
    shares = {place: min(place + 1, last) - max(place, first)
              for place in range(math.floor(first), min(math.ceil(last), before))}
    return {place: share * length / before for place, share in shares.items()}


def _bilinear(index: int, length: int, before: int) -> dict[int, float]:
    """The two old pixels between whose centres the new one's centre lies."""
    centre = (index + 0.5) * before / length - 0.5
    low = math.floor(centre)
    found: dict[int, float] = {}
    for place, weight in ((low, low + 1 - centre), (low + 1, centre - low)):
        place = min(max(place, 0), before - 1)
        found[place] = found.get(place, 0) + weight
    return found
