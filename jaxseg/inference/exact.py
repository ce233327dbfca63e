"""Tiles with a margin of the receptive field: whole-image results in bounded memory."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.inference.tiles import (
    Input,
    Reach,
    assemble,
    cut,
    marked,
    reach_of,
    spans,
    tile_shape,
)
from jaxseg.memory import available_bytes, compile_stated, needed_bytes

# Between probabilities of tiles and of the whole: far above rounding, far below what another
# position table or another window makes of a picture.
TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Exact:
    """The results of `whole.Whole` for images that need more memory in one piece than there is.

    For models in which a pixel depends on a neighbourhood, such as encoder and decoder of
    convolutions. Tiles overlap by the receptive field, and only what depends on no pixel outside of
    a tile is kept. They begin at multiples of the encoder's stride, so that every pixel falls on
    the same place of its feature maps as in the whole image, and lie inside the image, so that its
    border is padded by the model as there. How far pixels reach is found by the model itself, in
    which NaN spreads as far as they do; that tiles give what the whole gives is checked on one
    corner of the first image.

    Args:
      tile: (height, width), multiples of the encoder's stride. A tile computes as many pixels more
        than it keeps as the receptive field has, so large tiles waste less.
      forward, task, batch_size, place, devices: as in `whole.Whole`; `batch_size` counts tiles.
      pieces: of the model, `commands.pieces.Pieces`.

    Raises:
      InputError: a tile that is no multiple of the stride; when it runs, a receptive field larger
        than the tile, a model that depends on the position, a tile that does not fit into memory.
    """

    forward: Callable[[Any, jax.Array], Any]
    task: Any
    batch_size: int
    pieces: Any
    place: Callable[[np.ndarray], jax.Array] = jax.numpy.asarray
    devices: int = 1
    tile: tuple[PositiveInt, PositiveInt] = (1024, 1024)

    def __post_init__(self):
        if any(side % self.pieces.stride for side in self.tile):
            lower = [max(1, side // self.pieces.stride) * self.pieces.stride for side in self.tile]
            raise InputError(f'inference.tile: {list(self.tile)} are no multiples of the stride '
                             f'{self.pieces.stride} of the encoder; give {lower}')

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in order."""
        for key, image in images:
            yield key, np.concatenate(list(self.rows(variables, image)))

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Probabilities of one image, (H, W, channels) float32."""
        return np.concatenate(list(self._pieces('probabilities', variables, image)))

    def rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The mask of one image in pieces of some rows, from top to bottom.

        `image` is anything with `shape` and `image[top:bottom]`, as `data.lazy.LazyImage`.
        """
        yield from self._pieces('predictions', variables, image)

    @property
    def compilations(self) -> int:
        """Number of programs compiled and kept."""
        return len(self._programs)

    @property
    def windowed(self) -> tuple:
        """Images that were too large in one piece: none, tiles give what one piece would."""
        return ()

    def _pieces(self, what: str, variables: Any, image: Any) -> Iterator[np.ndarray]:
        shape = tile_shape(image.shape[:2], self.tile, self.pieces.stride)
        reaches = self._reaches(variables, image, shape)
        rows, columns = (spans(side, length, reach, self.pieces.stride) for side, length, reach in
                         zip(image.shape, shape, reaches, strict=False))
        count = min(self._count, -(-len(rows) * len(columns) // self.devices) * self.devices)
        tiles = cut([Input(image)], rows, columns, shape)
        yield from assemble(functools.partial(self._run, what, variables), tiles, len(columns),
                            count, 1)

    @property
    def _count(self) -> int:
        return -(-self.batch_size // self.devices) * self.devices

    def _run(self, what: str, variables: Any, images: np.ndarray) -> np.ndarray:
        batch = self.place(images)
        return np.asarray(self._program(what, variables, batch)(variables, batch))

    def _program(self, what: str, variables: Any, batch: jax.Array) -> Any:
        """The compiled program for batches of this shape."""
        key = what, batch.shape, batch.dtype
        if key not in self._programs:
            compiled = compile_stated(jax.jit(getattr(self, f'_{what}')).lower(variables, batch))
            needed, available = needed_bytes(compiled), available_bytes()
            if needed > available:
                raise InputError(f'inference.tile: {batch.shape[0]} tiles of {batch.shape[1]}x'
                                 f'{batch.shape[2]} need {needed / 2 ** 30:.3g} GiB of memory, and '
                                 f'{available / 2 ** 30:.3g} GiB are available; give a smaller '
                                 f'tile or eval_batch_size')
            self._programs[key] = compiled
        return self._programs[key]

    @functools.cached_property
    def _programs(self) -> dict[tuple, Any]:
        return {}

    def _predictions(self, variables: Any, images: jax.Array) -> jax.Array:
        return self.task.predictions(self.forward(variables, images))

    def _probabilities(self, variables: Any, images: jax.Array) -> jax.Array:
        return self.task.probabilities(self.forward(variables, images))

    def _reached(self, variables: Any, images: jax.Array) -> jax.Array:
        return jnp.isnan(self._probabilities(variables, images)).any(-1)

    def _reaches(self, variables: Any, image: Any, shape: tuple[int, int]) -> tuple[Reach, Reach]:
        """How far pixels reach in tiles of this shape, for rows and for columns.

        Raises:
          InputError: as far as the tile, or the tiles of a corner are not what it is in one piece.
        """
        if all(side <= length for side, length in zip(image.shape, shape, strict=False)):
            return Reach(0, 0), Reach(0, 0)  # one tile
        if shape not in self._found:
            marks = marked((*shape, image.shape[2]), self.pieces.stride)
            run = functools.partial(self._run, 'reached', variables)
            # Tiles are cut as those of an image of four tiles, one below the other.
            found = np.stack([run(np.repeat(mark[None], self.devices, 0))[0] for mark in marks])
            self._found[shape] = reach_of(found, self.pieces.stride)
            self._check_reach(shape, self._found[shape], image)
            self._check_corner(variables, image, shape)
        return self._found[shape]

    @functools.cached_property
    def _found(self) -> dict[tuple[int, int], tuple[Reach, Reach]]:
        return {}

    def _check_reach(self, shape: tuple[int, int], reaches: tuple[Reach, Reach], image: Any):
        for side, length, reach in zip(image.shape, shape, reaches, strict=False):
            # Where a mark reached the other border, nobody knows how far it would have gone on.
            beyond = max(max(reach) + 1, sum(reach)) + self.pieces.stride > length
            if side > length and beyond:
                del self._found[shape]
                raise InputError(f'inference.tile: pixels reach {reach.before} and {reach.after} '
                                 f'pixels far in tiles of {shape[0]}x{shape[1]}; give larger '
                                 f'tiles, or sliding.SlidingWindow if the model depends on the '
                                 f'whole image (attention, global pooling, group norm, recurrence)')

    def _check_corner(self, variables: Any, image: Any, shape: tuple[int, int]):
        """Compares tiles with one piece, on a corner that needs more than one tile."""
        height, width = (length + self.pieces.stride + 1 for length in shape)
        corner = np.asarray(image[:height, :width])
        tiled = self.probabilities(variables, corner)
        whole = self._run('probabilities', variables, np.repeat(corner[None], self.devices, 0))[0]
        difference = float(np.abs(tiled - whole).max())
        if not difference <= TOLERANCE:
            del self._found[shape]
            raise InputError(f'inference: exact.Exact: tiles give other probabilities than the '
                             f'whole, by up to {difference:.2g}: what this model gives for a pixel '
                             f'depends on its place in the image (windows of attention, tables of '
                             f'positions, align_corners, input_scale); use sliding.SlidingWindow')
