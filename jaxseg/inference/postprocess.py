"""Post-processing of masks: small components are removed and small holes filled, class by class."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import NonNegativeInt, check_fields, nearest
from jaxseg.inference.whole import Whole

TOUCHING = np.ones((3, 3), bool)  # pixels that touch in a corner are one component


@dataclasses.dataclass(frozen=True)
class Postprocess:
    """The masks of another inference method, without small components and small holes.

    A component is a set of pixels of one class that touch by side or corner; a hole is what a class
    surrounds, connected by sides and away from the border of the image. Pixels of components that
    are removed get the class of the nearest pixel that stays, or, where classes overlap, lose
    theirs. Then holes are filled, in the order of the classes. Probabilities stay as they are.
    `jaxseg evaluate --choose_postprocessing` finds areas on the validation split.

    Args:
      smallest: area in pixels by class; components of fewer pixels are removed.
      holes: area in pixels by class; holes of at most so many are filled.
      method: the inference method; None takes whole images.
      forward, task, batch_size, place, devices: as in `whole.Whole`.

    Raises:
      InputError: a class that does not exist, or post-processing of post-processed masks.
    """

    forward: Callable[[Any, jax.Array], Any]
    task: Any
    batch_size: int
    place: Callable[[np.ndarray], jax.Array] = jax.numpy.asarray
    devices: int = 1
    smallest: Mapping[str, NonNegativeInt] = dataclasses.field(default_factory=dict)
    holes: Mapping[str, NonNegativeInt] = dataclasses.field(default_factory=dict)
    method: Any | None = None

    def __post_init__(self):
        check_fields(self, 'inference')
        for field in ('smallest', 'holes'):
            for name in getattr(self, field):
                if name not in self.task.classes:
                    raise InputError(f'inference.{field}: {name!r} is no class; '
                                     f'{nearest(name, self.task.classes)}')
        if hasattr(self.method, 'clean'):
            raise InputError('inference.method: masks would be post-processed twice; give all '
                             'areas in one, and another method here')

    def predictions(self, variables: Any, images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in any order."""
        for key, mask in self._method.predictions(variables, images):
            yield key, self.clean(mask)

    def probabilities(self, variables: Any, image: np.ndarray) -> np.ndarray:
        """Those of the method, (H, W, channels) float32."""
        return self._method.probabilities(variables, image)

    def clean(self, mask: np.ndarray) -> np.ndarray:
        """A mask after post-processing: (H, W) class indices, or (H, W, classes) of 0 and 1."""
        areas = [(self.smallest.get(name, 0), self.holes.get(name, 0))
                 for name in self.task.classes]
        return clean(np.asarray(mask), areas)

    @property
    def compilations(self) -> int:
        """Number of programs compiled."""
        return self._method.compilations

    @property
    def windowed(self) -> Sequence[tuple[int, int]]:
        """Sizes of the images that were too large for the memory in one piece."""
        return self._method.windowed

    def __getattr__(self, name: str) -> Any:
        """The variance of the method, if it has one."""
        if name in ('variance', 'moments'):
            return getattr(self._method, name)
        raise AttributeError(name)

    @functools.cached_property
    def _method(self) -> Any:
        return self.method or Whole(self.forward, self.task, self.batch_size, self.place,
                                    self.devices)


def decide(inference: Any, task: Any, probabilities: np.ndarray) -> np.ndarray:
    """The mask of an image from its probabilities, post-processed if the method does that."""
    mask = np.asarray(task.decide(probabilities))
    return inference.clean(mask) if hasattr(inference, 'clean') else mask


def clean(mask: np.ndarray, areas: Sequence[tuple[int, int]]) -> np.ndarray:
    """A mask without small components and holes.

    Args:
      mask: (H, W) class indices, or (H, W, classes) of 0 and 1.
      areas: smallest component and largest hole of every class; 0 leaves all as they are.
    """
    overlapping, mask = mask.ndim == 3, mask.copy()
    layers = [mask[..., index] if overlapping else mask for index in range(len(areas))]
    values = [1 if overlapping else index for index in range(len(areas))]
    removed = np.zeros(mask.shape[:2], bool)
    for layer, value, (smallest, _) in zip(layers, values, areas, strict=True):
        small = small_components(layer == value, smallest)
        if overlapping:
            layer[small] = 0
        else:
            removed |= small
    if removed.any() and not removed.all():
        from scipy import ndimage  # few predictions need it, and it takes a while to start

        mask[removed] = mask[tuple(ndimage.distance_transform_edt(
            removed, return_distances=False, return_indices=True))][removed]
    for layer, value, (_, largest) in zip(layers, values, areas, strict=True):
        layer[small_holes(layer == value, largest)] = value
    return mask


def small_components(present: np.ndarray, smallest: int) -> np.ndarray:
    """The pixels (H, W) of components of fewer than `smallest` pixels."""
    if smallest < 2 or not present.any():
        return np.zeros(present.shape, bool)
    from scipy import ndimage

    index, _ = ndimage.label(present, TOUCHING)
    small = np.bincount(index.ravel()) < smallest
    small[0] = False
    return small[index]


def small_holes(present: np.ndarray, largest: int) -> np.ndarray:
    """The pixels (H, W) of holes of at most `largest` pixels."""
    if not largest or not present.any():
        return np.zeros(present.shape, bool)
    from scipy import ndimage

    index, _ = ndimage.label(~present)
    small = np.bincount(index.ravel()) <= largest
    for border in (index[0], index[-1], index[:, 0], index[:, -1]):
        small[border] = False
    small[0] = False
    return small[index]
