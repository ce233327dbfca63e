"""The tree of Cityscapes."""

import dataclasses
from typing import Any, Literal

from jaxseg.data.folder import Folder
from jaxseg.data.mappings import KNOWN, VOID

_KNOWN = KNOWN['cityscapes']
# Ids 0 to 33 of labels.py of cityscapesScripts; those that are not scored are void.
LABEL_MAP = {**dict.fromkeys(range(34), VOID), **_KNOWN.label_map}


@dataclasses.dataclass(frozen=True)
class Cityscapes(Folder):
    """`leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and `gtFine/SPLIT/CITY/*` (Cordts et al. 2016).

    A `folder.Folder` with other defaults: these names in `naming`, the 19 classes that are scored,
    their colors, and void 255 for all else. The masks of the split test, which are not public, are
    all void.

    Attributes:
      ids: which files are the masks: `*_gtFine_labelIds.png`, or `*_gtFine_labelTrainIds.png`,
        which createTrainIdLabelImgs.py of cityscapesScripts writes.
      others: see `folder.Folder`. For coarse annotations `naming={'masks': 'gtCoarse',
        'mask_suffix': '_gtCoarse_labelIds'}`.
    """

    ids: Literal['labelIds', 'labelTrainIds'] = 'labelIds'

    holds = 'leftImg8bit/ and gtFine/'

    @property
    def presets(self) -> dict[str, Any]:
        """What is known of Cityscapes."""
        label_map = {'label_map': LABEL_MAP} if self.ids == 'labelIds' else {}
        return {
            'naming': {'images': 'leftImg8bit', 'image_suffix': '_leftImg8bit', 'masks': 'gtFine',
                       'mask_suffix': f'_gtFine_{self.ids}'},
            'labels': {'encoding': 'indices', **label_map},
            'classes': _KNOWN.classes, 'colors': _KNOWN.colors, 'ignore_index': VOID}
