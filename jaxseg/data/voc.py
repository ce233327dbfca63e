"""The tree of PASCAL VOC, for its own images and for others stored alike."""

import dataclasses

from jaxseg.data.folder import Folder
from jaxseg.data.spec import distinct_colors

CLASSES = ('background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
           'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant',
           'sheep', 'sofa', 'train', 'tvmonitor')


@dataclasses.dataclass(frozen=True)
class Voc(Folder):
    """`JPEGImages`, `SegmentationClass` and lists `ImageSets/Segmentation/SPLIT.txt` (Everingham
    et al. 2015).

    A `folder.Folder` with other defaults: these names in `naming`, void 255, as the border of
    objects is, and the 21 classes and colors of VOC where neither the config nor
    `root/dataset.json` states classes. Images that no list names are left alone, whether they have
    a mask or not.

    Attributes:
      all: see `folder.Folder`. `naming={'masks': 'SegmentationClassAug'}` replaces one name.
    """

    presets = {
        'naming': {'images': 'JPEGImages', 'masks': 'SegmentationClass',
                   'lists': 'ImageSets/Segmentation'},
        'classes': CLASSES, 'colors': distinct_colors(len(CLASSES)), 'ignore_index': 255}
    holds = 'JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/'
