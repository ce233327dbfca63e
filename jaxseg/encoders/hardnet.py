"""HarDNet: densely connected blocks with few connections."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import NormSpec, norm_layer
from jaxseg.layers.pooling import max_pool
from jaxseg.layers.remat import call_block
from jaxseg.layers.stages import Stage, Stages


class _Block(NamedTuple):
    """A block, the 1x1 convolution after it, and whether the size is halved after that."""

    layers: int
    growth: int
    features: int
    halves: bool


class _Variant(NamedTuple):
    """What differs between variants; `depthwise` are those called DS."""

    stem: tuple[int, int]
    multiplier: float
    depthwise: bool
    blocks: tuple[_Block, ...]


_BLOCKS_68 = (_Block(8, 14, 128, True), _Block(16, 16, 256, False), _Block(16, 20, 320, True),
              _Block(16, 40, 640, True), _Block(4, 160, 1024, False))
VARIANTS = {
    '39ds': _Variant((24, 48), 1.6, True, (
        _Block(4, 16, 96, True), _Block(16, 20, 320, True), _Block(8, 64, 640, True),
        _Block(4, 160, 1024, False))),
    '68': _Variant((32, 64), 1.7, False, _BLOCKS_68),
    '68ds': _Variant((32, 64), 1.7, True, _BLOCKS_68),
    '85': _Variant((48, 96), 1.7, False, (
        _Block(8, 24, 192, True), _Block(16, 24, 256, False), _Block(16, 28, 320, True),
        _Block(16, 36, 480, False), _Block(16, 48, 720, True), _Block(4, 256, 1280, False))),
}


class HarDNet(nn.Module):
    """HarDNet 39DS, 68, 68DS and 85 (Chao et al. 2019, arXiv:1909.00948).

    Layer k of a block reads layer k - 2^n for every power of two that divides k, and is the wider
    the more it is read; the block returns its odd layers and the last one. (B, H, W, C) -> five
    stages, each before the next halving of the size, at strides 2, 4, 8, 16 and 32, of which H and
    W must be multiples. Parameters are named by the list of layers of the authors' code:
    `base.3.layers.0.conv` is `base3_0_conv` here.

    Args:
      variant: the number of layers; with 'ds', depthwise-separable convolutions.
      norm: a kind of norm, or the fields of `jaxseg.layers.norm.Norm`.
      remat: computes blocks again in the backward pass instead of keeping what is inside them.
    """

    variant: Literal['39ds', '68', '68ds', '85'] = '68'
    norm: NormSpec = 'batch'
    remat: bool = False

    stride = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Stages:
        variant, norm = VARIANTS[self.variant], functools.partial(norm_layer, self.norm, train)
        x = _conv(x, variant.stem[0], norm, 'base0', stride=2)
        x = _conv(x, variant.stem[1], norm, 'base1', kernel=1 if variant.depthwise else 3)
        stages, place = [Stage(2, x)], 2
        x = self._halve(x, 3, norm, place)
        for index, block in enumerate(variant.blocks):
            place += 1
            x = call_block(self._block, x, self.remat, block=block, norm=norm, place=place)
            # The authors' list has a dropout before the last convolution of HarDNet-85.
            place += 2 if self.variant == '85' and index == len(variant.blocks) - 1 else 1
            x = _conv(x, block.features, norm, f'base{place}', kernel=1)
            if block.halves:
                stages.append(Stage(2 * stages[-1].stride, x))
                place += 1
                x = self._halve(x, 2, norm, place)
        return (*stages, Stage(2 * stages[-1].stride, x))

    def _halve(self, x: jax.Array, window: int, norm: Callable, place: int) -> jax.Array:
        if VARIANTS[self.variant].depthwise:
            return _depthwise(x, norm, f'base{place}', stride=2)
        return max_pool(x, window, 2, padding=(window - 1) // 2)

    def _block(self, x: jax.Array, *, block: _Block, norm: Callable, place: int) -> jax.Array:
        variant, outputs = VARIANTS[self.variant], [x]
        for layer in range(1, block.layers + 1):
            links = _links(layer)
            width = block.growth * variant.multiplier ** (len(links) - 1)
            width = int(int(width + 1) / 2) * 2
            y = jnp.concatenate([outputs[link] for link in links], -1)
            name = f'base{place}_{layer - 1}'
            y = _conv(y, width, norm, name, kernel=1 if variant.depthwise else 3)
            outputs.append(_depthwise(y, norm, f'{name}_depthwise') if variant.depthwise else y)
        kept = [y for layer, y in enumerate(outputs) if layer % 2 or layer == block.layers]
        return jnp.concatenate(kept, -1)


def _links(layer: int) -> list[int]:
    """The layers that a layer reads; 0 is the input of the block."""
    powers = [2 ** n for n in range(layer.bit_length()) if layer % 2 ** n == 0]
    return [layer - power for power in powers]


def _conv(x: jax.Array, features: int, norm: Callable, name: str, kernel: int = 3, stride: int = 1
          ) -> jax.Array:
    x = Conv(features, kernel, stride, name=f'{name}_conv')(x)
    return nn.relu6(norm(name=f'{name}_norm')(x))


def _depthwise(x: jax.Array, norm: Callable, name: str, stride: int = 1) -> jax.Array:
    x = Conv(x.shape[-1], 3, stride, groups=x.shape[-1], name=f'{name}_conv')(x)
    return norm(name=f'{name}_norm')(x)
