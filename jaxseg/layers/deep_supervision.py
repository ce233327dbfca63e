"""Deep supervision: losses of what a decoder computes on its way to the finest features."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jaxseg.errors import InputError


def supervise(module: nn.Module, field: str, maps: Sequence[jax.Array], *, train: bool):
    """Hands maps of a decoder to its model, which gives each a head and a loss in training.

    Lee et al. 2015, arXiv:1409.5185. Called inside a compact method. The maps are sown as
    `auxiliary/steps`, one tuple in the order of the heads.

    Args:
      module: the decoder.
      field: its field with the number of maps that are supervised.
      maps: (B, H', W', C) each, all that could be supervised, the most important first.

    Raises:
      InputError: there are fewer maps than the field says.
    """
    count = getattr(module, field)
    if count > len(maps):
        raise InputError(f'decoder.{field}: {count} is out of range; over this encoder the decoder '
                         f'has {len(maps)} maps before its result, so give at most {len(maps)}')
    if count and (train or module.is_initializing()):
        module.sow('auxiliary', 'steps', tuple(maps[:count]))
