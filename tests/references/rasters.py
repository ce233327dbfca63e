"""Polygons and run lengths, pixel by pixel, in exact arithmetic."""

from fractions import Fraction

import numpy as np


def fill(points, height: int, width: int) -> np.ndarray:
    """The pixels whose centers are inside of a polygon, by the even-odd rule.

    From the center a ray goes left; it counts the edges that it meets. The center itself counts as
    right of an edge through it, and of an edge only its upper end belongs to it.
    """
    points = [(Fraction(float(x)), Fraction(float(y))) for x, y in points]
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    inside = np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        x, y = column + Fraction(1, 2), row + Fraction(1, 2)
        met = 0
        for (x0, y0), (x1, y1) in edges:
            if min(y0, y1) <= y < max(y0, y1):
                met += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
        inside[row, column] = met % 2
    return inside


def run_lengths(mask: np.ndarray) -> list[int]:
    """Pixels outside, inside, outside, ... down the columns, beginning with those outside."""
    counts, value = [0], False
    for pixel in mask.ravel(order='F').tolist():
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return counts


def compress(counts: list[int]) -> str:
    """COCO's text: differences from the last but one, five bits a character, the lowest first."""
    text = ''
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while True:
            bits, number = number & 31, number >> 5
            done = number == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return text
