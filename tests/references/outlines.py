"""Scores of outlines by loops over pixels and over all pairs of pixels."""

import itertools
import math

import numpy as np

NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def outline(mask: np.ndarray, known: np.ndarray) -> list[tuple[int, int]]:
    """The pixels of a mask with a known pixel outside of it beside them, or at the border."""
    height, width = mask.shape
    found = []
    for y, x in itertools.product(range(height), range(width)):
        beside = [(y + i, x + j) for i, j in NEIGHBOURS]
        if mask[y, x] and any(
                not (0 <= i < height and 0 <= j < width) or known[i, j] and not mask[i, j]
                for i, j in beside):
            found.append((y, x))
    return found


def band(mask: np.ndarray, known: np.ndarray, distance: int) -> set[tuple[int, int]]:
    """The pixels of a mask within a distance along rows, columns and diagonals of the outside."""
    padded_mask = np.pad(mask, 1)
    outside = np.argwhere(~padded_mask & np.pad(known, 1, constant_values=True)) - 1
    return {(y, x) for y, x in np.argwhere(mask).tolist()
            if min(max(abs(y - i), abs(x - j)) for i, j in outside.tolist()) <= distance}


def region_counts(truth: np.ndarray, guess: np.ndarray, known: np.ndarray, dilation: float
                  ) -> list[int]:
    """Intersection and union of the bands of one class in one image."""
    distance = max(1, round(dilation * math.hypot(*truth.shape)))
    one, other = (band(mask, known, distance) for mask in (truth, guess))
    return [len(one & other), len(one | other)]


def scores(truth: np.ndarray, guess: np.ndarray, known: np.ndarray, tolerance: float,
           surface_tolerance: float) -> dict[str, float]:
    """F, precision, recall, NSD and HD95 of one class in one image; no entry where undefined."""
    one, other = outline(truth, known), outline(guess, known)
    to_truth = [min((math.dist(p, q) for q in one), default=math.inf) for p in other]
    to_guess = [min((math.dist(p, q) for q in other), default=math.inf) for p in one]
    limit = tolerance * math.hypot(*truth.shape)
    found = {}
    if other:
        found['precision'] = sum(d <= limit for d in to_truth) / len(other)
    if one:
        found['recall'] = sum(d <= limit for d in to_guess) / len(one)
    if one or other:
        parts = [found.get(name, 0) for name in ('precision', 'recall')]
        found['boundary_f'] = 2 * parts[0] * parts[1] / sum(parts) if all(parts) else 0
        near = [d <= surface_tolerance for d in to_truth + to_guess]
        found['nsd'] = sum(near) / len(near)
    if one and other:
        found['hd95'] = max(percentile(to_truth, 0.95), percentile(to_guess, 0.95))
    return found


def percentile(values: list[float], share: float) -> float:
    """With linear interpolation between neighbours."""
    values, place = sorted(values), share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])
