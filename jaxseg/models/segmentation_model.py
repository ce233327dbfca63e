"""Encoder, context, decoder and head: from images to logits of image size."""

import itertools
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.errors import InputError
from jaxseg.fields import Range
from jaxseg.layers.head import Head
from jaxseg.layers.resize import downsample, pad_to_multiple, resize_bilinear
from jaxseg.layers.stages import Stages, at_index
from jaxseg.layers.symbolic import quotient

Outputs = dict[str, Any]


class SegmentationModel(nn.Module):
    """Normalised images (B, H, W, C) of any size -> `outputs`: `logits` (B, H, W, classes) float32.

    Images are padded to a multiple of the encoder's stride by repeating their border, and logits
    are cropped back. The context layers run one after the other on one stage of the encoder, the
    deepest by default. Images are cast to `dtype` once and every layer computes in the dtype of its
    input; parameters, norm statistics and logits are float32.

    The parameter tree is `encoder`, `context/layers_0...`, `decoder`, `head` and `auxiliary/...`,
    whatever the number of context layers and auxiliary decoders.

    Args:
      encoder: images -> stages (`jaxseg.layers.stages`), with a property `stride` that sizes must
        be a multiple of.
      decoder: stages -> features.
      classes: number of channels of the logits.
      context: a layer, or several, features -> features of the same height and width.
      context_stage: index of the stage that the context replaces, in order of depth.
      head: features -> logits; by default a 3x3 convolution.
      auxiliary: a decoder, or several, on the encoder's own stages (Zhao et al. 2017, PSPNet). They
        run in training only; their logits, those of maps that the decoder sows as
        `auxiliary/steps` (`jaxseg.layers.deep_supervision`), and those that a context layer sows as
        `auxiliary/regions` are the tuple `outputs['auxiliary']`, in this order.
      input_scale: factor by which images are downsampled before the encoder; logits still have the
        size of the images.
      align_corners: how logits are resized to the size of the images; True for weights of models
        that were trained so (`jaxseg.layers.resize.resize_bilinear`).
      dtype: the compute dtype; 'float16' is not for training, whose loss is not scaled.
    """

    encoder: nn.Module
    decoder: nn.Module
    classes: int
    context: nn.Module | tuple[nn.Module, ...] = ()
    context_stage: int = -1
    head: nn.Module | None = None
    auxiliary: nn.Module | tuple[nn.Module, ...] | None = ()
    input_scale: Annotated[float, Range(above=0, high=1)] = 1.0
    align_corners: bool = False
    dtype: Literal['float32', 'bfloat16', 'float16'] = 'float32'

    def __post_init__(self):
        # Containers give one module and several the same names in the parameter tree.
        if not isinstance(self.context, Chain):
            object.__setattr__(self, 'context', Chain(_as_tuple(self.context), parent=None))
        if not isinstance(self.auxiliary, AuxiliaryDecoders):
            decoders = AuxiliaryDecoders(_as_tuple(self.auxiliary), self.classes, parent=None)
            object.__setattr__(self, 'auxiliary', decoders)
        if self.head is None:
            object.__setattr__(self, 'head', Head(self.classes, parent=None))
        super().__post_init__()

    def encode(self, images: jax.Array) -> jax.Array:
        """The features on which the context works, outside of training."""
        scaled = downsample(images.astype(self.dtype), self.input_scale)
        stages = self.encoder(pad_to_multiple(scaled, self.encoder.stride), train=False)
        return at_index(stages, self.context_stage, 'model.context_stage').features

    @property
    def context_sweeps(self) -> tuple | None:
        """`sweeps` of every context layer; None where one has none (`jaxseg.layers.sweep`)."""
        found = tuple(getattr(layer, 'sweeps', None) for layer in self.context.layers)
        return None if None in found else found

    def context_sweep(self, layer: int, index: int, maps: Any, state: Any) -> tuple:
        """One sweep of a context layer over strips."""
        return self.context.sweep(layer, index, maps, state)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool, context: jax.Array | None = None
                 ) -> Outputs:
        """The outputs; `context` is what the context layers give, where that is known."""
        if train and self.dtype == 'float16' and not self.is_initializing():
            raise InputError("model.dtype: small gradients are 0 in 'float16', for the loss is not "
                             "scaled; train with 'bfloat16'")
        scaled = downsample(images.astype(self.dtype), self.input_scale)
        padded = pad_to_multiple(scaled, self.encoder.stride)

        def at_image_size(logits: jax.Array) -> jax.Array:
            scale = [_scale(*sides) for sides in zip(
                images.shape[1:3], scaled.shape[1:3], padded.shape[1:3], logits.shape[1:3],
                strict=True)]
            return resize_bilinear(logits.astype(jnp.float32), images.shape[1:3], scale,
                                   align_corners=self.align_corners)

        stages = self.encoder(padded, train=train)
        features = self.decoder(self._with_context(stages, train, context), train=train)
        outputs = {'logits': at_image_size(self.head(features, train=train))}
        if train or self.is_initializing():
            steps = itertools.chain.from_iterable(_sown(self.decoder))
            auxiliary = (*self.auxiliary(stages, tuple(steps), train=train), *_sown(self.context))
        if train:
            outputs['auxiliary'] = tuple(map(at_image_size, auxiliary))
        return outputs

    def _with_context(self, stages: Stages, train: bool, features: jax.Array | None) -> Stages:
        stage = at_index(stages, self.context_stage, 'model.context_stage')
        index = range(len(stages))[self.context_stage]
        if features is None:
            features = self.context(stage.features, train=train)
        return (*stages[:index], stage.replace(features=features), *stages[index + 1:])


class Chain(nn.Module):
    """Context layers, one after the other: (B, H, W, C) -> (B, H, W, features)."""

    layers: tuple[nn.Module, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for layer in self.layers:
            x = layer(x, train=train)
        return x

    def sweep(self, layer: int, index: int, maps: Any, state: Any) -> tuple:
        """One sweep of one of the layers."""
        return self.layers[layer].sweep(index, maps, state)


class AuxiliaryDecoders(nn.Module):
    """Decoders with a 1x1 head each: stages -> a tuple of logits (B, H', W', classes).

    More maps of features, such as those that the main decoder sows, have such heads, too.

    Raises:
      InputError: one of these decoders sows maps itself.
    """

    decoders: tuple[nn.Module, ...]
    classes: int

    @nn.compact
    def __call__(self, stages: Stages, maps: tuple[jax.Array, ...], *, train: bool
                 ) -> tuple[jax.Array, ...]:
        features = [*(decoder(stages, train=train) for decoder in self.decoders), *maps]
        if _sown(self):
            raise InputError('model.auxiliary: auxiliary decoders have no deep supervision of '
                             'their own; leave supervised_steps or supervised_nodes out, or give '
                             'them to model.decoder')
        return tuple(Head(self.classes, 1, name=f'heads_{index}')(x, train=train)
                     for index, x in enumerate(features))


def _sown(module: nn.Module) -> list[Any]:
    """What a module, and those inside it, have sown as `auxiliary` in this call.

    `sow` appends: the last entry of each is that of this call.
    """
    found = jax.tree.leaves(module.variables.get('auxiliary', {}),
                            is_leaf=lambda x: isinstance(x, tuple))
    return [sown[-1] for sown in found]


def _scale(image: Any, scaled: Any, padded: Any, logits: Any) -> tuple[Any, Any]:
    """By how much logits are enlarged to the image, as a pair of integers.

    One pixel of a feature map covers padded / logits pixels of the padded image, and each of these
    image / scaled pixels. The pair is reduced where it can, since its products are 32-bit integers.
    """
    stride = quotient(padded, logits)
    numerator, denominator = (padded, logits) if stride is None else (stride, 1)
    if image == scaled:
        return numerator, denominator
    return numerator * image, denominator * scaled


def _as_tuple(modules: nn.Module | tuple | list | None) -> tuple[nn.Module, ...]:
    if modules is None:
        return ()
    return tuple(modules) if isinstance(modules, (tuple, list)) else (modules,)
