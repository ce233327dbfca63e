"""Tiles of one shape that are computed with a margin, of which the middle is kept."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Span(NamedTuple):
    """A tile along one axis: it begins at `start`, and [first, last) of the image is kept of it."""

    start: int
    first: int
    last: int


class Reach(NamedTuple):
    """How many rows below the upper border of a tile and above its lower one are wrong there."""

    before: int
    after: int


class Input(NamedTuple):
    """What tiles are cut from: `source[top:bottom]` and its `stride` in pixels of the image."""

    source: Any
    stride: int = 1


def spans(side: int, tile: int, reach: Reach, stride: int) -> list[Span]:
    """Tiles along an axis; the first begins and the last ends at the border of the padded image.

    So that what a model adds beyond the border, it adds in the tile as in the whole image.

    Args:
      side: of the image; models pad it to a multiple of `stride` at the end.
      tile: a multiple of `stride`, as all starts are.
      reach: with stride they fit into the tile, if the side does not.
    """
    padded = -(-side // stride) * stride
    if padded <= tile:
        return [Span(0, 0, side)]
    step = (tile - sum(reach)) // stride * stride
    starts = [*range(0, padded - tile, step), padded - tile]
    bounds = [0, *(start + reach.before for start in starts[1:]), side]
    return list(map(Span, starts, bounds, bounds[1:]))


def tile_shape(size: Sequence[int], tile: Sequence[int], stride: int) -> tuple[int, int]:
    """(height, width) of the tiles of an image: that of the padded image where it is smaller."""
    height, width = (min(most, -(-side // stride) * stride)
                     for side, most in zip(size, tile, strict=True))
    return height, width


def cut(inputs: Sequence[Input], rows: Sequence[Span], columns: Sequence[Span],
        shape: tuple[int, int]) -> Iterator[tuple[tuple[Span, Span], tuple[np.ndarray, ...]]]:
    """Every tile, row by row: its spans and its part of each input.

    Beyond the image stands its border, as models pad.
    """
    for row in rows:
        # One access for a row of tiles: images on disk are decoded no more often.
        strips = [each.source[row.start // each.stride:(row.start + shape[0]) // each.stride]
                  for each in inputs]
        for column in columns:
            yield (row, column), tuple(
                _padded(strip[:, column.start // each.stride:
                              (column.start + shape[1]) // each.stride],
                        [side // each.stride for side in shape])
                for strip, each in zip(strips, inputs, strict=True))


def _padded(piece: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    margins = [(0, side - have) for side, have in zip(shape, piece.shape, strict=False)]
    return np.pad(piece, [*margins, (0, 0)], mode='edge')


def assemble(run: Callable[..., np.ndarray], tiles: Iterator, across: int, count: int, stride: int
             ) -> Iterator[np.ndarray]:
    """Runs tiles in batches and joins the kept parts: pieces of some rows, from top to bottom.

    Args:
      run: batches of every input -> (B, h, w, ...), of `stride` pixels each.
      tiles: of `cut`; `across` of them make a row.
      count: tiles a batch; the last batch is padded with copies, so that all have one shape.
    """
    kept: list[np.ndarray] = []
    while batch := list(itertools.islice(tiles, count)):
        parts = [part for _, part in batch]
        parts += [parts[-1]] * (count - len(parts))
        found = run(*(np.stack(each) for each in zip(*parts, strict=True)))
        for ((row, column), _), result in zip(batch, found, strict=False):
            kept.append(result[_inside(row, stride), _inside(column, stride)])
            if len(kept) == across:
                yield np.concatenate(kept, 1)
                kept = []


def _inside(span: Span, stride: int) -> slice:
    """What is kept of a tile, in positions of its own."""
    return slice((span.first - span.start) // stride, -(-(span.last - span.start) // stride))


def marked(shape: tuple[int, ...], edge: int) -> np.ndarray:
    """Tiles (4, *shape) float32 of zeros, with NaN in the `edge` first and last rows and columns.

    What is computed from NaN is NaN: the results that are NaN are those that the marked rows and
    columns reach, whatever the parameters are.
    """
    tiles = np.zeros((4, *shape), np.float32)
    tiles[0, :edge], tiles[1, -edge:] = np.nan, np.nan
    tiles[2, :, :edge], tiles[3, :, -edge:] = np.nan, np.nan
    return tiles


def noise(shape: tuple[int, int, int], value_range: tuple[float, float], block: int) -> np.ndarray:
    """Noise (H, W, C) within a range of values, the same at every call.

    The mean of noise of single pixels and of blocks, which deep features do not average away.
    """
    rng, (low, high) = np.random.default_rng(0), value_range
    height, width, channels = shape
    blocks = rng.random((-(-height // block), -(-width // block), channels))
    blocks = blocks.repeat(block, 0).repeat(block, 1)[:height, :width]
    return low + (high - low) * (blocks + rng.random(shape)) / 2


def reach_of(found: np.ndarray, edge: int) -> tuple[Reach, Reach]:
    """How far the marks reached, for rows and for columns.

    Args:
      found: (4, height, width) bool, True where the results of `marked` are NaN.
      edge: in positions of `found`.
    """
    top, bottom = found[0].any(1), found[1].any(1)
    left, right = found[2].any(0), found[3].any(0)
    return tuple(Reach(_last(before) - edge, _last(after[::-1]) - edge)
                 for before, after in ((top, bottom), (left, right)))


def _last(found: np.ndarray) -> int:
    """One more than the last position that is True."""
    return int(np.flatnonzero(found).max(initial=-1)) + 1
