"""LabelMe's JSON files: shapes of several types, each with a label."""

import base64
import binascii
import collections
import pathlib
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.drawn_masks import Drawing, Shape
from jaxseg.data.masks import read_mask
from jaxseg.data.shapes import LARGEST, Bitmap, Figure, Polygons, Stroke, has_area
from jaxseg.errors import InputError
from jaxseg.records import read_json

TYPES = ('polygon', 'rectangle', 'circle', 'line', 'linestrip', 'mask', 'point', 'points')
# How many points a type has: at least, at most.
_POINTS = {'polygon': (1, None), 'rectangle': (2, 4), 'circle': (2, 2), 'line': (2, 2),
           'linestrip': (2, None), 'mask': (2, 2)}


class LabelMeFile(NamedTuple):
    """What a file holds: shapes, all that is wrong, and counts of what is left out by kind."""

    drawing: Drawing
    problems: tuple[str, ...]
    skipped: collections.Counter


def read_labelme(path: pathlib.Path, void_labels: Collection[str], line_width: float | None
                 ) -> LabelMeFile:
    """Parses a file; see `labelme.LabelMe`.

    Raises:
      InputError: it is no JSON, or not of LabelMe.
    """
    document = read_json(path)
    entries = document.get('shapes')
    if not isinstance(entries, list):
        raise InputError(f'{path}: holds no list of shapes; give a JSON file of LabelMe, or remove '
                         f'it')
    shapes, problems, skipped = [], [], collections.Counter()
    for index, entry in enumerate(entries):
        try:
            shape = _shape(entry, void_labels, line_width)
        except InputError as error:
            problems.append(f'{path}: shape {index}: {error}')
            continue
        if isinstance(shape, str):
            skipped[shape] += 1
        else:
            shapes.append(shape)
    size = document.get('imageHeight'), document.get('imageWidth')
    known = all(isinstance(value, int) and 0 < value <= LARGEST for value in size)
    return LabelMeFile(Drawing(tuple(shapes), size if known else None), tuple(problems), skipped)


def _shape(entry: Any, void_labels: Collection[str], line_width: float | None) -> Shape | str:
    """A shape, or as what it is left out."""
    if not isinstance(entry, dict) or not isinstance(entry.get('label'), str):
        raise InputError('has no label; add one, or remove the shape')
    label, kind = entry['label'], entry.get('shape_type', 'polygon')
    if kind not in TYPES:
        raise InputError(f'shape_type {kind!r} is not known; draw it as one of {", ".join(TYPES)}')
    if kind.startswith('point'):
        return 'points without area'
    points = _points(entry.get('points'), label)
    low, high = _POINTS[kind]
    if len(points) < low or high and len(points) > high or kind == 'rectangle' and len(points) == 3:
        raise InputError(f'{kind} {label!r} of {len(points)} points; draw it again')
    if kind in ('line', 'linestrip') and line_width is None:
        raise InputError(f'{label!r} is a {kind}, which has no area; state the width of lines in '
                         f'data.line_width, in pixels, or draw a polygon')
    figure = _figure(kind, points, entry, line_width)
    if figure is None:
        return 'shapes without area'
    void = label in void_labels
    return Shape(None if void else label, figure, void)


def _points(value: Any, label: str) -> np.ndarray:
    try:
        points = np.array(value, float)
    except (ValueError, TypeError, OverflowError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) <= LARGEST).all():
        raise InputError(f'points of {label!r} are not pairs of finite numbers; draw it again')
    return points


def _figure(kind: str, points: np.ndarray, entry: dict, line_width: float | None
            ) -> Figure | None:
    """What to draw, None if it has no area."""
    if kind == 'mask':
        return _bitmap(points, entry)
    if kind == 'circle':
        radius = float(np.hypot(*(points[1] - points[0])))
        return Stroke(points[:1], radius) if radius else None
    if kind in ('line', 'linestrip'):
        return Stroke(points, line_width / 2)
    if kind == 'rectangle' and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return Polygons((points,)) if len(points) > 2 and has_area(points) else None


def _bitmap(points: np.ndarray, entry: dict) -> Bitmap | None:
    """The pixels of a shape `mask`: a PNG in base64 between its first and its last pixel."""
    label, text = entry['label'], entry.get('mask')
    try:
        encoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InputError(f'the mask of {label!r} is no base64; draw it again') from None
    pixels = read_mask(encoded, f'mask of {label!r}').values
    (left, top), (right, bottom) = points.round().astype(int).tolist()
    if pixels.shape != (bottom - top + 1, right - left + 1):
        raise InputError(f'the mask of {label!r} has {pixels.shape[1]}x{pixels.shape[0]} pixels, '
                         f'but its points span {right - left + 1}x{bottom - top + 1}; draw it '
                         f'again')
    return Bitmap(pixels > 0, top, left) if pixels.any() else None
