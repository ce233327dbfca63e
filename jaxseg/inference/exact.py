"""Tiles with a margin of the receptive field: whole-image results in bounded memory."""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt
from jaxseg.inference.sweeps import StoredMap, run_sweeps
from jaxseg.inference.tiles import (
    Input,
    Reach,
    assemble,
    cut,
    marked,
    noise,
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
    which NaN spreads as far as they do; that tiles give what the whole gives is checked on noise,
    once for every shape of tiles. With `model.input_scale` the stride is that in pixels of the
    image, of which the sides of images must be multiples: models resize others by another factor.

    Recurrent context (ReNet, FourWayRNN, FlattenedScan) knows the whole image. Then the features of
    all tiles are put on disk, the recurrences run over them in strips of whole rows and whole
    columns, or hand their state from strip to strip, and the decoder takes tiles again.

    Args:
      tile: (height, width), multiples of the stride. A tile computes as many pixels more than it
        keeps as the receptive field has, so large tiles waste less.
      forward, task, batch_size, place, devices: as in `whole.Whole`; `batch_size` counts tiles.
      pieces: of the model, `commands.pieces.Pieces`.

    Raises:
      InputError: a tile that is no multiple of the stride; when it runs, a receptive field larger
        than the tile, a model that depends on the position, a tile that does not fit into memory,
        with `model.input_scale` an image whose sides are no multiples of the stride, a feature
        map that does not fit into the temporary folder.
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
                             f'{self.pieces.stride} of the model; give {lower}')

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in order."""
        for key, image in images:
            yield key, np.concatenate(list(self.rows(variables, image)))

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Probabilities of one image, (H, W, channels) float32."""
        return np.concatenate(list(self.probability_rows(variables, image)))

    def rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The mask of one image in pieces of some rows, from top to bottom.

        `image` is anything with `shape` and `image[top:bottom]`, as `data.lazy.LazyImage`.
        """
        yield from self._pieces('predictions', variables, image)

    def probability_rows(self, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The probabilities of one image in the same pieces, (rows, W, channels) float32."""
        yield from self._pieces('probabilities', variables, image)

    @property
    def compilations(self) -> int:
        """Number of programs compiled and kept."""
        return len(self._programs)

    @property
    def windowed(self) -> tuple:
        """Images that were too large in one piece: none, tiles give what one piece would."""
        return ()

    def _pieces(self, what: str, variables: Any, image: Any) -> Iterator[np.ndarray]:
        """The result of an image in pieces of some rows."""
        self._check_scaled(image.shape[:2])
        shape = tile_shape(image.shape[:2], self.tile, self.pieces.stride)
        if self._is_tile(image.shape, shape):
            yield from self._tiled(what, variables, [Input(image)], image.shape[:2], shape)
            return
        self._check_noise(variables, image, shape)
        if not self.pieces.sweeps:
            yield from self._tiled(what, variables, [Input(image)], image.shape[:2], shape)
            return
        with tempfile.TemporaryDirectory() as folder:
            context = self._context(variables, image, shape, pathlib.Path(folder))
            yield from self._tiled(f'{what} in context', variables, [Input(image), context],
                                   image.shape[:2], shape)

    def _context(self, variables: Any, image: Any, shape: tuple[int, int], folder: pathlib.Path
                 ) -> Input:
        """The features of the whole image after the context, on disk."""
        tile = jax.ShapeDtypeStruct((1, *shape, image.shape[2]), image.dtype)
        features = jax.eval_shape(self.pieces.encode, variables, tile)
        stride = shape[0] // features.shape[1]
        padded = [-(-side // self.pieces.stride) * self.pieces.stride for side in image.shape[:2]]
        size = tuple(side // stride for side in padded)
        stored = StoredMap(folder / 'features', (*size, features.shape[-1]), features.dtype)
        top = 0
        for piece in self._tiled('encode', variables, [Input(image)], padded, shape, stride):
            stored[top:top + len(piece)] = piece
            top += len(piece)
        for layer, sweeps in enumerate(self.pieces.sweeps):
            run = functools.partial(self._sweep, variables, layer)
            stored = run_sweeps(sweeps, stored, run) if sweeps else stored
        return Input(stored, stride)

    def _sweep(self, variables: Any, layer: int, index: int, maps: Any, state: Any
               ) -> tuple[np.ndarray, Any]:
        arguments = variables, tuple(map(jnp.asarray, maps)), state

        def function(variables, maps, state):
            return self.pieces.sweep(variables, layer, index, maps, state)

        found, state = self._program(f'sweep {layer} {index}', function, *arguments)(*arguments)
        return np.asarray(found), state

    def _tiled(self, name: str, variables: Any, inputs: Sequence[Input], size: Sequence[int],
               shape: tuple[int, int], stride: int = 1) -> Iterator[np.ndarray]:
        """The results of a function over all tiles, each for `stride` pixels of the image."""
        reaches = self._reaches(name, variables, inputs, size, shape, stride)
        rows, columns = (spans(side, length, reach, self.pieces.stride) for side, length, reach in
                         zip(size, shape, reaches, strict=True))
        most = -(-self.batch_size // self.devices)
        count = min(most, -(-len(rows) * len(columns) // self.devices)) * self.devices
        tiles = cut(inputs, rows, columns, shape)
        yield from assemble(functools.partial(self._run, name, variables), tiles, len(columns),
                            count, stride)

    def _run(self, name: str, variables: Any, *batch: np.ndarray) -> np.ndarray:
        arguments = variables, *map(self.place, batch)
        return np.asarray(self._program(name, self._function(name), *arguments)(*arguments))

    def _function(self, name: str) -> Callable:
        """`(variables, images)`, or with what the context gives, -> arrays (B, h, w, ...)."""
        if name == 'encode':
            return self.pieces.encode
        of_task = getattr(self.task, name.split()[0])
        model = self.pieces.decode if name.endswith('context') else self.forward
        return lambda variables, *batch: of_task(model(variables, *batch))

    def _program(self, name: str, function: Callable, *arguments: Any) -> Any:
        """The compiled program for arguments of these shapes."""
        leaves, structure = jax.tree.flatten(arguments[1:])
        key = name, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if key not in self._programs:
            compiled = compile_stated(jax.jit(function).lower(*arguments))
            needed, available = needed_bytes(compiled), available_bytes()
            if needed > available:
                raise InputError(f'inference.tile: {name} of {leaves[0].shape} needs '
                                 f'{needed / 2 ** 30:.3g} GiB of memory, and '
                                 f'{available / 2 ** 30:.3g} GiB are available; give a smaller '
                                 f'tile or eval_batch_size')
            self._programs[key] = compiled
        return self._programs[key]

    @functools.cached_property
    def _programs(self) -> dict[tuple, Any]:
        return {}

    @staticmethod
    def _is_tile(size: Sequence[int], shape: tuple[int, int]) -> bool:
        return all(side <= length for side, length in zip(size, shape, strict=False))

    def _reaches(self, name: str, variables: Any, inputs: Sequence[Input], size: Sequence[int],
                 shape: tuple[int, int], stride: int) -> tuple[Reach, Reach]:
        """How far pixels reach in tiles of this shape, for rows and for columns.

        Raises:
          InputError: as far as the tile.
        """
        if self._is_tile(size, shape):
            return Reach(0, 0), Reach(0, 0)
        key = name.replace('predictions', 'probabilities'), shape
        if key not in self._found:
            edge = self.pieces.stride
            marks = zip(*(marked((*(side // each.stride for side in shape), each.source.shape[2]),
                                 edge // each.stride) for each in inputs), strict=True)
            found = [self._run(key[0], variables, *(np.repeat(each[None], self.devices, 0)
                                                    for each in mark))[0] for mark in marks]
            found = np.isnan(np.stack(found)).any(-1)
            self._found[key] = tuple(Reach(*(stride * length for length in reach))
                                     for reach in reach_of(found, edge // stride))
        self._check_reach(name, self._found[key], size, shape)
        return self._found[key]

    @functools.cached_property
    def _found(self) -> dict[tuple, tuple[Reach, Reach]]:
        return {}

    def _check_reach(self, name: str, reaches: tuple[Reach, Reach], size: Sequence[int],
                     shape: tuple[int, int]):
        for side, length, reach in zip(size, shape, reaches, strict=True):
            # Where a mark reached the other border, nobody knows how far it would have gone on.
            beyond = max(max(reach) + 1, sum(reach)) + self.pieces.stride > length
            if side > length and beyond:
                part = {'encode': 'of the encoder ', 'context': 'of the decoder '}.get(
                    name.split()[-1], '')
                raise InputError(f'inference.tile: pixels reach {reach.before} and {reach.after} '
                                 f'pixels far in tiles {part}of {shape[0]}x{shape[1]}; give larger '
                                 f'tiles, or sliding.SlidingWindow if the model depends on the '
                                 f'whole image (attention, global pooling, group norm)')

    def _check_scaled(self, size: Sequence[int]):
        """Raises InputError where the model resizes an image by another factor than a tile."""
        stride = self.pieces.stride
        if self.pieces.scale != 1 and any(side % stride for side in size):
            raise InputError(f'inference: exact.Exact: with model.input_scale {self.pieces.scale} '
                             f'an image of {size[0]}x{size[1]} is resized by another factor than '
                             f'its tiles; give sides that are multiples of {stride}, or use '
                             f'sliding.SlidingWindow')

    @functools.cached_property
    def _checked(self) -> set[tuple[int, ...]]:
        return set()

    def _check_noise(self, variables: Any, image: Any, shape: tuple[int, int]):
        """Compares tiles with one piece, on noise that needs more than one tile where images do."""
        stride = self.pieces.stride
        # A side that is no multiple of the stride is padded, too.
        more = stride + (self.pieces.scale == 1)
        size = tuple(length + more if side > length else length
                     for side, length in zip(image.shape, shape, strict=False))
        if size in self._checked:
            return
        self._checked.add(size)
        pixels = noise((*size, image.shape[2]), self.pieces.value_range, stride).astype(image.dtype)
        try:
            tiled = self.probabilities(variables, pixels)
            whole = self._run('probabilities', variables,
                              np.repeat(pixels[None], self.devices, 0))[0]
            difference = float(np.abs(tiled - whole).max())
            if not difference <= TOLERANCE:
                raise InputError(
                    f'inference: exact.Exact: tiles give other probabilities than the whole, by up '
                    f'to {difference:.2g}: what this model gives for a pixel depends on its place '
                    f'in the image (windows of attention, tables of positions, align_corners); use '
                    f'sliding.SlidingWindow')
        except InputError:
            self._checked.discard(size)
            raise
