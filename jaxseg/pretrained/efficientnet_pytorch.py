"""Weights of the package efficientnet-pytorch, which segmentation_models.pytorch uses as well."""

import dataclasses
from typing import Any, ClassVar

from jaxseg.pretrained.convert import convert, norm_rules
from jaxseg.pretrained.tensors import read_tensors

BLOCK = r'_blocks\.(\d+)'
RULES = (
    (r'_conv_stem\.weight', r'params/stem_conv/kernel'), *norm_rules(r'_bn0', r'stem_bn'),
    (rf'{BLOCK}\._(expand|depthwise|project)_conv\.weight', r'params/block\1/\2_conv/kernel'),
    *(rule for index, name in enumerate(('expand', 'depthwise', 'project'))
      for rule in norm_rules(rf'{BLOCK}\._bn{index}', rf'block\1/{name}_bn')),
    (rf'{BLOCK}\._se_(reduce|expand)\.weight', r'params/block\1/squeeze_excite/\2/kernel'),
    (rf'{BLOCK}\._se_(reduce|expand)\.bias', r'params/block\1/squeeze_excite/\2/bias'))
# Of the classifier, and counters.
UNUSED = (r'_conv_head\.weight', r'_bn1\..*', r'_fc\.(weight|bias)', r'.*\.num_batches_tracked')


@dataclasses.dataclass(frozen=True)
class EfficientNet:
    """EfficientNet b0 to b7 for the encoder `efficientnet.EfficientNet`.

    Args:
      path: a checkpoint of efficientnet-pytorch. The convolution to 1,280 channels and the
        classifier are not used.
    """

    path: str
    part: ClassVar[str] = 'encoder'
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    def load(self, wanted: Any) -> dict[str, Any]:
        """The variables of the encoder, for shapes as they are `wanted`.

        Raises:
          InputError: the file cannot be read, or its tensors are not those of this encoder.
        """
        return convert(self.path, read_tensors(self.path), wanted, RULES, unused=UNUSED,
                       first='params/stem_conv/kernel')


class EfficientNetLite(EfficientNet):
    """The same for EfficientNet-Lite, whose input is `(x - 127) / 128` of values up to 255."""

    mean: ClassVar[tuple[float, ...]] = (127 / 255,) * 3
    std: ClassVar[tuple[float, ...]] = (128 / 255,) * 3
