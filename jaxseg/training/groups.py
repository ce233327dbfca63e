"""Factors of the learning rate by the names of parameters, and by depth in the encoder."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import optax

from jaxseg.errors import InputError
from jaxseg.fields import Positive, Range
from jaxseg.training.parameters import beginnings, matching, named, nested

Groups = tuple[tuple[str, Positive], ...]
LayerDecay = Annotated[float, Range(above=0, high=1)]
NOT_COUNTED = '; parameters that are frozen, or in a group before, do not count'

# What begins the name of a layer of an encoder, and its numbers: stage and place, or place alone.
_BLOCK = re.compile(r'(?:stage|layer|block|group|base|features_)(\d+)(?:_[a-z]*(\d+))?')
_BEFORE_STAGE = re.compile(r'(?:downsample|embed|patches)(\d+)')
_AFTER_STAGE = re.compile(r'(?:transition(\d+)|stage(\d+)_norm$)')
_STEM = re.compile(r'stem|conv\d|bn\d|norm0|patch_embed|position|class_token|registers')


def scale_by_groups(groups: Groups, layer_decay: float) -> optax.GradientTransformation:
    """Multiplies updates by `learning_rate_factors`; it stands before the learning rate."""
    if not groups and layer_decay == 1:
        return optax.identity()

    def factors(parameters: Any) -> dict[str, float]:
        return learning_rate_factors(list(named(parameters)), groups, layer_decay)

    def init(params: Any) -> optax.EmptyState:
        factors(params)  # what is wrong shows before anything is compiled
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        found = factors(updates)
        scaled = {name: jax.tree.map(lambda x, factor=found[name]: factor * x, leaf)
                  for name, leaf in named(updates).items()}
        return nested(scaled), state

    return optax.GradientTransformation(init, update)


def learning_rate_factors(names: Sequence[str], groups: Groups, layer_decay: float
                          ) -> dict[str, float]:
    """`{name: factor}`: that of the first group that matches, times the decay of its depth.

    Args:
      names: of all parameters, such as 'encoder/conv1/kernel'.
      groups: (regular expression of whole names, factor); together they match all names. None
        at all stand for the factor 1.
      layer_decay: as `layer_factors`.

    Raises:
      InputError: a parameter in no group, a group without a parameter, or an encoder without
        layers to count.
    """
    factors = layer_factors(names, layer_decay)
    left = list(names)
    for index, (pattern, factor) in enumerate(groups):
        for name in matching(f'optimizer.groups.{index}', pattern, left, NOT_COUNTED):
            factors[name] *= factor
            left.remove(name)
    if groups and left:
        raise InputError(f'optimizer.groups: {left[0]} is in no group, as are all that begin with '
                         f"{', '.join(beginnings(left))}; end with the group ['.*', 1.0]")
    return factors


def layer_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """`decay^(L + 1 - l)` for layer l of an encoder of L blocks (Bao et al. 2021, BEiT).

    The stem is layer 0, the blocks of the encoder are layers 1 to L in order of depth, and what
    comes after them is layer L + 1, with factor 1. Names tell them apart: blocks are
    `encoder/block3`, `encoder/layer2_0`, `encoder/stage1_block0` and the like, ordered by their
    numbers; what leads into a stage (`downsample1`, `embed1`, `transition1`) belongs to its first
    block; stem, patch embedding, position and tokens are the stem.

    Raises:
      InputError: no such blocks, though the decay is not 1.
    """
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    words = {name: name.split('/')[1] for name in names if name.startswith('encoder/')}
    blocks = sorted({place for word in words.values() if (place := _block(word))})
    if not blocks:
        raise InputError(f'optimizer.layer_decay: {decay} counts blocks of the encoder, such as '
                         f'encoder/block0 or encoder/stage1_0, and there are none that learn in '
                         f'{", ".join(beginnings(names))}; use optimizer.groups')
    return {name: decay ** (len(blocks) - _index(words[name], blocks)) if name in words else 1.0
            for name in names}


def _block(word: str) -> tuple[int, ...] | None:
    """The numbers of a block, by which blocks are ordered; None for what is none."""
    found = None if _AFTER_STAGE.match(word) else _BLOCK.match(word)
    return tuple(int(number or 0) for number in found.groups()) if found else None


def _index(word: str, blocks: Sequence[tuple[int, ...]]) -> int:
    """The index of the block that a word names or belongs to; -1 for the stem."""
    block, before, after = _block(word), _BEFORE_STAGE.match(word), _AFTER_STAGE.match(word)
    if block:
        return blocks.index(block)
    if before or after:
        stage = int(before[1]) if before else int(after[1] or after[2]) + 1
        return sum(place < (stage, 0) for place in blocks)
    return -1 if _STEM.match(word) else len(blocks)
