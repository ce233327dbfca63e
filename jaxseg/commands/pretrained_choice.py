"""Which encoder a file of weights is for: decided by trying the tables of names."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.build import build
from jaxseg.errors import InputError
from jaxseg.fields import nearest
from jaxseg.pretrained.names import matches, places_of
from jaxseg.pretrained.tensors import read_tensors

SIDE = 64  # pixels of the images for which shapes are computed


def _variants(encoder: str, field: str, values: Sequence[Any], **fields: Any
              ) -> list[dict[str, Any]]:
    return [{'type': encoder, field: value, **fields} for value in values]


MIT = _variants('mit.MiT', 'variant', ('b0', 'b1', 'b2', 'b3', 'b4', 'b5'))
# The encoders that a table of names may be for, in series by their number of variables; of several
# tables that fit, the first is taken.
ENCODERS: dict[str, list[list[dict[str, Any]]]] = {
    'torchvision.ResNet': [
        _variants('resnet.ResNet', 'depth', (18, 34, 50, 101, 152)),
        _variants('resnet.ResNet', 'depth', (50, 101), groups=32, width_per_group=4),
        _variants('resnet.ResNet', 'depth', (101,), groups=32, width_per_group=8),
        _variants('resnet.ResNet', 'depth', (50, 101), width_per_group=128)],
    'timm.ResNetD': [_variants('resnet.ResNet', 'depth', depths, deep_stem=True,
                               average_shortcut=True) for depths in ((18, 34), (26, 50, 101))],
    'torchvision.MobileNetV2': [[{'type': 'mobilenet.MobileNetV2'}]],
    'torchvision.MobileNetV3Large': [[{'type': 'mobilenet.MobileNetV3', 'variant': 'large'}]],
    'torchvision.MobileNetV3Small': [[{'type': 'mobilenet.MobileNetV3', 'variant': 'small'}]],
    'torchvision.DenseNet': [_variants('densenet.DenseNet', 'depth', (121, 169, 201)),
                             _variants('densenet.DenseNet', 'depth', (161,))],
    'torchvision.VGG': [_variants('vgg.VGG', 'depth', (11, 13, 16, 19), norm=norm)
                        for norm in ('batch', None)],
    'efficientnet_pytorch.EfficientNetLite': [_variants(
        'efficientnet.EfficientNet', 'variant', ('lite0', 'lite1', 'lite2', 'lite3', 'lite4'))],
    'efficientnet_pytorch.EfficientNet': [_variants(
        'efficientnet.EfficientNet', 'variant', ('b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7'))],
    'hardnet.HarDNet': [_variants('hardnet.HarDNet', 'variant', (variant,))
                        for variant in ('68', '39ds', '68ds', '85')],
    'smp_encoders.MiT': [MIT], 'transformers.MiT': [MIT],
}


def choose_encoder(path: str, kind: str | None, channels: int
                   ) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries `pretrained` and `model.encoder` for a file of weights.

    Args:
      path: the file, or its address on the Hugging Face Hub.
      kind: the table of its names, if the user states it.
      channels: of the images.

    Raises:
      InputError: the file cannot be read, or fits none of `ENCODERS`.
    """
    if kind is not None and kind not in ENCODERS:
        raise InputError(f'--pretrained_type={kind}: no weights of an encoder that can be chosen; '
                         f'{nearest(kind, list(ENCODERS))}')
    names = list(read_tensors(path))
    for table in [kind] if kind else ENCODERS:
        pretrained = {'type': table, 'path': path}
        weights = build('pretrained', pretrained)
        places = {place for name in names for place in places_of(name, weights.rules)}
        if all(places_of(name, weights.rules) or matches(name, weights.unused) for name in names):
            found = next((entry for series in ENCODERS[table]
                          for entry in _fitting(weights, series, channels, len(places))), None)
            if found:
                return pretrained, found
    tried = kind or f'{len(ENCODERS)} tables of names'
    raise InputError(f'--pretrained={path}: its {len(names)} tensors ({", ".join(names[:3])}, ...) '
                     f'fit no encoder of {tried}; jaxseg models lists what there is, write '
                     f'`pretrained` and `model.encoder` into the experiment file yourself')


def _fitting(weights: Any, series: Sequence[dict[str, Any]], channels: int, tensors: int
             ) -> Iterator[dict[str, Any]]:
    """The encoders of a series whose variables so many tensors fill."""
    for entry in series:
        encoder = build('encoder', entry)
        images = jax.ShapeDtypeStruct((1, SIDE, SIDE, channels), jnp.float32)
        shapes = jax.eval_shape(
            lambda images, encoder=encoder: encoder.init(jax.random.key(0), images, train=False),
            images)
        if len(jax.tree.leaves(shapes)) > tensors:
            return
        try:
            weights.load(shapes)
        except InputError:
            continue
        yield entry
