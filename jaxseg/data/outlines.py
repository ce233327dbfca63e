"""Masks as polygons and back: outlines along the edges of the pixels, exact to the pixel.

The pixel of row r and column c is the square from (c, r) to (c + 1, r + 1) in (x, y), so corners of
polygons are integers, and the pixels of a polygon are those whose centre is in it. Rings are arrays
(N, 2) of x and y, without the first point once more at the end. Seen with x to the right and y down
outer rings run clockwise, holes counterclockwise: their shoelace areas are positive and negative.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.spec import DatasetSpec

Ring = np.ndarray
Polygon = list[Ring]  # the outer ring, then its holes
# East, south, west, north in x and y. An object lies to the right of its edges.
STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
TOUCHING = np.ones((3, 3), bool)  # pixels that touch in a corner are neighbours, too


class Object(NamedTuple):
    """One connected component of a class.

    Pixels that touch in a corner only are one object of several polygons.
    """

    index: int
    polygons: list[Polygon]
    area: int


def objects(mask: np.ndarray, spec: DatasetSpec) -> Iterator[Object]:
    """The objects of a mask, class by class, each from the top and the left.

    Args:
      mask: (H, W) class indices, or (H, W, classes) 0/1 masks.
    """
    from scipy import ndimage  # only polygons need it, and it takes a while to start

    for index in range(len(spec.classes)):
        present = mask == index if mask.ndim == 2 else mask[..., index] == 1
        if not present.any():
            continue
        parts, _ = ndimage.label(present)
        whole, count = ndimage.label(present, TOUCHING)
        areas = np.bincount(whole.ravel(), minlength=count + 1)
        found: list[list[Polygon]] = [[] for _ in range(count + 1)]
        for polygon in outlines(parts):
            x, y = polygon[0][0]  # the upper left corner of one of its pixels
            found[whole[y, x]].append(polygon)
        yield from (Object(index, found[i], int(areas[i])) for i in range(1, count + 1))


def outlines(parts: np.ndarray) -> list[Polygon]:
    """The polygon of every part, in the order of the numbers.

    Args:
      parts: (H, W) integers, 0 outside; the pixels of every other number must be connected by
        their sides.
    """
    following, owners, starts, directions = _edges(np.asarray(parts))
    corners = np.empty(len(following), bool)  # where the edge before has another direction
    corners[following] = directions[following] != directions
    polygons: dict[int, Polygon] = {}
    # Edges are sorted by direction, row and column: the first of a part is at its top, so that its
    # outer ring comes before its holes.
    for cycle in _cycles(following, corners):
        polygons.setdefault(int(owners[cycle[0]]), []).append(starts[cycle])
    return [polygons[owner] for owner in sorted(polygons)]


def fill(polygons: Iterable[Polygon], size: tuple[int, int]) -> np.ndarray:
    """The pixels of polygons with integer corners along rows and columns, (height, width) bool."""
    counts = run_lengths([ring for polygon in polygons for ring in polygon], size)
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T


def run_lengths(rings: Sequence[Ring], size: tuple[int, int]) -> list[int]:
    """The pixels of rings as COCO writes them: numbers of pixels outside and inside in turn.

    Columns from left to right, each from top to bottom. Every horizontal edge of a ring changes
    between outside and inside for all that is below it in its column.
    """
    height, width = size
    places = [np.zeros(0, np.int64)]
    for ring in rings:
        for (x, y), (end, low) in zip(ring.tolist(), np.roll(ring, -1, 0).tolist(), strict=True):
            if y == low:
                places.append(np.arange(min(x, end), max(x, end)) * height + y)
    changes, times = np.unique(np.concatenate(places), return_counts=True)
    changes = changes[times % 2 == 1]
    counts = np.diff(np.concatenate([[0], changes, [height * width]])).tolist()
    return counts if counts[-1] or len(counts) == 1 else counts[:-1]


def _edges(parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every edge between a part and what is none of it, clockwise around the part.

    Returns:
      The index of the following edge, the part, the start (x, y) and the direction of each.
    """
    height, width = parts.shape
    padded = np.pad(parts, 1)
    around = {0: padded[:-2, 1:-1], 1: padded[1:-1, 2:], 2: padded[2:, 1:-1], 3: padded[1:-1, :-2]}
    owner = np.zeros((4, height + 1, width + 1), parts.dtype)
    for direction, (row, column) in enumerate(((0, 0), (0, 1), (1, 1), (1, 0))):
        owner[direction, row:row + height, column:column + width] = np.where(
            parts != around[direction], parts, 0)
    directions, rows, columns = np.nonzero(owner)
    owners, starts = owner[directions, rows, columns], np.stack([columns, rows], -1)
    x, y = (starts + STEPS[directions]).T
    # Where a part touches itself in a corner two edges go on. To the left it goes over to the other
    # pixel: outer ring and hole, or two holes, then touch in a point, and no ring touches itself.
    turned = directions
    for turn in (1, 0, 3):  # the last that fits stays: right, straight on, left
        candidate = (directions + turn) % 4
        turned = np.where(owner[candidate, y, x] == owners, candidate, turned)
    flat = np.ravel_multi_index((turned, y, x), owner.shape)
    all_flat = np.ravel_multi_index((directions, rows, columns), owner.shape)
    return np.searchsorted(all_flat, flat), owners, starts, directions


def _cycles(following: np.ndarray, corners: np.ndarray) -> Iterator[list[int]]:
    """The cycles of a permutation, by their first indices; of each the indices in `corners`."""
    after, is_corner = following.tolist(), corners.tolist()
    seen = bytearray(len(after))
    for first in range(len(after)):
        if seen[first]:
            continue
        cycle, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            if is_corner[edge]:
                cycle.append(edge)
            edge = after[edge]
        yield cycle


def geojson(found: Iterable[Object], spec: DatasetSpec, name: str, size: tuple[int, int]
            ) -> dict[str, Any]:
    """Objects as GeoJSON (RFC 7946), with coordinates in pixels.

    Args:
      name, size: of the image, as its members `image`, `height` and `width`.
    """
    features = []
    for one in found:
        coordinates = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon]
                       for polygon in one.polygons]
        several = len(coordinates) > 1
        features.append({
            'type': 'Feature',
            'geometry': {'type': 'MultiPolygon' if several else 'Polygon',
                         'coordinates': coordinates if several else coordinates[0]},
            'properties': {'class': spec.classes[one.index], 'index': one.index,
                           'area': one.area}})
    return {'type': 'FeatureCollection', 'image': name, 'height': size[0], 'width': size[1],
            'features': features}
