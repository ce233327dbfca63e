"""Augmentation on the device that pastes pixels of one sample of the batch into the next one.

Image, labels and `valid` of a pixel come from the same sample. A sample receives from the one
before it in the batch, the first from the last; batches are shuffled. Under `jit` that is the batch
of all devices, under `pmap` that of one device. In a batch of one a sample is mixed with itself.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxseg.data.device_geometry import Affine, Factor, Sample
from jaxseg.errors import InputError
from jaxseg.fields import Probability, check_fields, nearest


class _InPlace:
    """Pastes where `_region(label, valid, key)` of the other sample is, at its place."""

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        samples = images, labels, valid
        return _paste(samples, samples, keys, self._region, self.p)


@dataclasses.dataclass(frozen=True)
class CutMix(_InPlace):
    """Pastes a rectangle of another sample, at its place (Yun et al. 2019, French et al. 2020).

    The rectangle has the proportions of the image and a share of its area that is uniform between
    0 and 1; its centre is uniform in the image, at whose border it is cut off.

    Attributes:
      p: probability with which a sample is changed.
    """

    p: Probability = 0.5

    def __post_init__(self):
        check_fields(self, 'device_mixing.CutMix')

    def _region(self, label: jax.Array, valid: jax.Array, key: jax.Array) -> jax.Array:
        size, place = jax.random.split(key)
        share = jnp.sqrt(jax.random.uniform(size))
        center = jax.random.uniform(place, (2,))
        rows, columns = (jnp.abs((jnp.arange(side) + 0.5) / side - middle) < share / 2
                         for side, middle in zip(label.shape[:2], center, strict=True))
        return rows[:, None] & columns[None]


@dataclasses.dataclass(frozen=True)
class ClassMix(_InPlace):
    """Pastes half of the classes that another sample shows, at their place (Olsson et al. 2021).

    Of an odd number one more is pasted than stays. A class of overlapping masks brings the other
    classes of its pixels along.

    Attributes:
      p: probability with which a sample is changed.
      classes: given by the run.
    """

    p: Probability = 0.5
    classes: Sequence[str] = ()

    def __post_init__(self):
        check_fields(self, 'device_mixing.ClassMix')

    def _region(self, label: jax.Array, valid: jax.Array, key: jax.Array) -> jax.Array:
        shown = _shown(label, valid, len(self.classes))
        present = shown.any((0, 1))
        # Ranks of random numbers among the classes that are present; these come first.
        order = jnp.argsort(jnp.where(present, jax.random.uniform(key, present.shape), 2.0))
        chosen = jnp.argsort(order) < (present.sum() + 1) // 2
        return (shown & chosen.reshape(1, 1, -1)).any(-1)


@dataclasses.dataclass(frozen=True)
class CopyPaste:
    """Pastes all that another sample shows of some classes, scaled and moved (Ghiasi et al. 2021).

    Attributes:
      pasted: names of these classes: things, such as cars, that may stand anywhere.
      low, high, translation: of the scale and the translation, as in `device_geometry.Affine`.
      p: probability with which a sample is changed.
      classes, mean, value_range: given by the run.

    Raises:
      InputError: a name is that of no class.
    """

    pasted: Sequence[str]
    low: Factor = 0.8
    high: Factor = 1.25
    translation: Probability = 0.2
    p: Probability = 0.5
    classes: Sequence[str] = ()
    mean: tuple[float, ...] = (0.0,)
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_fields(self, 'device_mixing.CopyPaste')
        for name in self.pasted:
            if name not in self.classes:
                raise InputError(f'device_mixing.CopyPaste pastes {name!r}, which '
                                 f'is no class; {nearest(name, self.classes)}')

    def __call__(self, images: jax.Array, labels: jax.Array, valid: jax.Array, keys: jax.Array
                 ) -> Sample:
        affine = Affine(self.low, self.high, translation=self.translation, mean=self.mean,
                        value_range=self.value_range)
        moving, pasting = jnp.split(jax.vmap(jax.random.split)(keys), 2, 1)
        moved = affine(images, labels, valid, moving[:, 0])
        return _paste((images, labels, valid), moved, pasting[:, 0], self._region, self.p)

    def _region(self, label: jax.Array, valid: jax.Array, key: jax.Array) -> jax.Array:
        chosen = jnp.array([name in self.pasted for name in self.classes])
        return (_shown(label, valid, len(self.classes)) & chosen.reshape(1, 1, -1)).any(-1)


def _shown(label: jax.Array, valid: jax.Array, classes: int) -> jax.Array:
    """Whether a valid pixel has a class, (H, W, classes)."""
    if label.ndim == 3:
        return (label > 0) & valid
    return (label[..., None] == jnp.arange(classes).reshape(1, 1, -1)) & valid[..., None]


def _paste(samples: Sample, sources: Sample, keys: jax.Array, region: Callable, p: float) -> Sample:
    """Each sample with the pixels of the source before it where `region(label, valid, key)` is."""
    sources = tuple(jnp.roll(x, 1, 0) for x in sources)

    def each(sample: Sample, source: Sample, key: jax.Array) -> Sample:
        chosen, inner = jax.random.split(key)
        pasted = region(*source[1:], inner) & jax.random.bernoulli(chosen, p)
        return tuple(jnp.where(pasted.reshape(pasted.shape + (1,) * (old.ndim - 2)), new, old)
                     for old, new in zip(sample, source, strict=True))

    return jax.vmap(each)(samples, sources, keys)
