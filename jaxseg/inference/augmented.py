"""Test-time augmentation: the mean over scaled, flipped and rotated copies of an image."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import jax
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import Range, check_fields
from jaxseg.inference.whole import Whole

# Quarter turns and mirrorings that make the flips: upside down is half a turn and mirrored.
FLIPS = {'none': ((0, False),), 'horizontal': ((0, False), (0, True)),
         'vertical': ((0, False), (2, True)),
         'both': ((0, False), (0, True), (2, True), (2, False))}
# Probabilities are rounded to multiples of this and summed in float64, which is then exact for 512
# copies: the order of the sum does not matter, so that a rotated image has the rotated result.
UNIT = 2.0 ** -44
CHANNELS = 4  # that OpenCV resizes at a time
Scale = Annotated[float, Range(0.1, 10)]


class _Copy(NamedTuple):
    """One augmentation: a scale, quarter turns counterclockwise, then mirrored left to right."""

    scale: float
    turns: int
    mirrored: bool

    def of(self, image: np.ndarray) -> np.ndarray:
        """The augmented image (H, W, C)."""
        size = tuple(max(1, round(self.scale * side)) for side in image.shape[:2])
        image = np.rot90(resize(image, size), self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)

    def undone(self, found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What was found in the augmented image, at the size and in the position of the image."""
        found = found[:, ::-1] if self.mirrored else found
        return resize(np.rot90(found, -self.turns), size)


@dataclasses.dataclass(frozen=True)
class TestTimeAugmentation:
    """The mean of the probabilities of augmented copies of an image, from which the task decides.

    Every combination of a scale, a rotation and a flip goes through another inference method, and
    what it finds is brought back to the image's own size; combinations that are the same, such as
    two flips and half a turn, count once. The variance over the copies tells where the model is
    uncertain (Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103). Images are resized as
    `transforms.RandomScale` does: by area where they shrink, else bilinearly.

    Args:
      scales: factors of height and width; 1.0 is the image's own size.
      flips: 'horizontal' adds copies mirrored left to right, 'vertical' upside down, 'both' all
        four combinations.
      rotations: degrees counterclockwise; without 0 there is no upright copy.
      method: the inference of the copies; None takes whole images.
      forward, task, batch_size, place, devices: as in `whole.Whole`.

    Raises:
      InputError: no scale or rotation, one that occurs twice, or augmentations in augmentations.
    """

    __test__ = False  # the name begins as those of pytest's classes do

    forward: Callable[[Any, jax.Array], Any]
    task: Any
    batch_size: int
    place: Callable[[np.ndarray], jax.Array] = jax.numpy.asarray
    devices: int = 1
    scales: Sequence[Scale] = (1.0,)
    flips: Literal['none', 'horizontal', 'vertical', 'both'] = 'horizontal'
    rotations: Sequence[Literal[0, 90, 180, 270]] = (0,)
    method: Any | None = None

    def __post_init__(self):
        check_fields(self, 'inference')
        for name in ('scales', 'rotations'):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f'inference.{name}: {list(values)} '
                                 f'{"holds a value twice" if values else "is empty"}; '
                                 f'give one or more different values')
        if hasattr(self.method, 'clean'):
            raise InputError('inference.method: post-processing takes the mean of all copies; give '
                             'postprocess.Postprocess with this as its method')
        if isinstance(self.method, TestTimeAugmentation):
            raise InputError('inference.method: augmented copies of augmented copies; give all '
                             'augmentations in one, and whole.Whole or sliding.SlidingWindow here')

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in any order."""
        if len(self._copies) == 1 and self._copies[0] == _Copy(1.0, 0, False):
            yield from self._method.predictions(variables, images)
            return
        for key, image in images:
            yield key, self.task.decide(self.probabilities(variables, image))

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """The mean over the copies, (H, W, channels) float32."""
        if len(self._copies) == 1:
            (found,) = self._found(variables, image)
            return found
        total = 0.0
        for found in self._found(variables, image):
            total += np.rint(found / UNIT, dtype=np.float64)
        return (total * (UNIT / len(self._copies))).astype(np.float32)

    def variance(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """The variance over the copies, summed over the channels, (H, W) float32; 0 of one copy."""
        return self.moments(variables, image)[1]

    def moments(self, variables: Any, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`probabilities` and `variance` of one image, computed together."""
        total, squares, count = 0.0, 0.0, len(self._copies)
        for found in self._found(variables, image):
            total += np.rint(found / UNIT, dtype=np.float64)
            squares += np.einsum('hwc,hwc->hw', found, found, dtype=np.float64)
        mean = total * (UNIT / count)
        variance = np.maximum(squares / count - (mean ** 2).sum(-1), 0)
        return mean.astype(np.float32), variance.astype(np.float32)

    @property
    def compilations(self) -> int:
        """Number of programs compiled."""
        return self._method.compilations

    @functools.cached_property
    def windowed(self) -> list[tuple[int, int]]:
        """(height, width) of every image of which a copy was too large for the memory."""
        return []

    def _found(self, variables: Any, image: np.ndarray) -> Iterator[np.ndarray]:
        """The probabilities of every copy, at the size of the image."""
        before, size = len(self._method.windowed), image.shape[:2]
        for copy in self._copies:
            yield copy.undone(self._method.probabilities(variables, copy.of(image)), size)
        if len(self._method.windowed) > before:
            self.windowed.append(size)

    @functools.cached_property
    def _copies(self) -> tuple[_Copy, ...]:
        return tuple(dict.fromkeys(
            _Copy(scale, (degrees // 90 + turns) % 4, mirrored) for scale in self.scales
            for degrees in self.rotations for turns, mirrored in FLIPS[self.flips]))

    @functools.cached_property
    def _method(self) -> Any:
        return self.method or Whole(self.forward, self.task, self.batch_size, self.place,
                                    self.devices)


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) at (height, width): by area where it shrinks, else bilinear between the centres."""
    if array.shape[:2] == size:
        return array
    # OpenCV's area mode is only right where no side grows: first what shrinks, then what grows.
    smaller = (min(size[1], array.shape[1]), min(size[0], array.shape[0]))
    result = np.empty((*size, array.shape[-1]), array.dtype)
    for first in range(0, array.shape[-1], CHANNELS):
        part = np.ascontiguousarray(array[..., first:first + CHANNELS])
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
        part = cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR)
        result[..., first:first + CHANNELS] = part.reshape(*size, -1)
    return result
