"""The parts of a model as functions, for inference that runs them one after the other."""

import dataclasses
import fractions
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxseg.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pieces:
    """What `inference.exact.Exact` needs to know of a model.

    Args:
      model: with an encoder.
      preprocess: of the model's input.
      value_range: the lowest and the highest pixel value.
    """

    model: nn.Module
    preprocess: Callable
    value_range: tuple[float, float]

    @property
    def stride(self) -> int:
        """That of the encoder in pixels of the image: places that differ by it are treated alike.

        Raises:
          InputError: `model.input_scale` makes it no whole number.
        """
        stride = fractions.Fraction(self.model.encoder.stride) / fractions.Fraction(self.scale)
        if stride.denominator != 1:
            raise InputError(f'inference: exact.Exact: with model.input_scale {self.scale} the '
                             f'stride {self.model.encoder.stride} of the encoder is '
                             f'{float(stride):.4g} pixels of the image, and tiles begin at whole '
                             f'pixels; use sliding.SlidingWindow')
        return stride.numerator

    @property
    def scale(self) -> float:
        """The factor by which the model downsamples images first."""
        return getattr(self.model, 'input_scale', 1.0)

    @property
    def sweeps(self) -> tuple:
        """Those of every context layer (`jaxseg.layers.sweep`); empty where one has none."""
        return getattr(self.model, 'context_sweeps', None) or ()

    def encode(self, variables: Any, images: jax.Array) -> jax.Array:
        """The features on which the context works."""
        return self.model.apply(variables, self._prepared(images), method='encode')

    def sweep(self, variables: Any, layer: int, index: int, maps: Any, state: Any) -> tuple:
        """The result of a sweep of a context layer for strips of its maps, and the state."""
        return self.model.apply(variables, layer, index, maps, state, method='context_sweep')

    def decode(self, variables: Any, images: jax.Array, context: jax.Array) -> Any:
        """The outputs, with what the context gives for the features of `images`."""
        return self.model.apply(variables, self._prepared(images), train=False, context=context)

    def _prepared(self, images: jax.Array) -> jax.Array:
        return self.preprocess({'image': images}, None)['image']
