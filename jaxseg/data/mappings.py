"""Well-known data sets of TensorFlow Datasets: features, classes, colors, meaning of raw labels."""

from collections.abc import Mapping
from typing import NamedTuple

VOID = 255


class Known(NamedTuple):
    """A data set: feature names, classes, colors, raw label -> class, splits.

    Raw labels that `label_map` does not name are void.
    """

    image: str
    mask: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    label_map: Mapping[int, int]
    splits: Mapping[str, str]


# labels.py of cityscapesScripts: labelId, name and color of the 19 classes that are scored, in the
# order of their trainId (Cordts et al. 2016).
_CITYSCAPES = (
    (7, 'road', (128, 64, 128)), (8, 'sidewalk', (244, 35, 232)), (11, 'building', (70, 70, 70)),
    (12, 'wall', (102, 102, 156)), (13, 'fence', (190, 153, 153)), (17, 'pole', (153, 153, 153)),
    (19, 'traffic light', (250, 170, 30)), (20, 'traffic sign', (220, 220, 0)),
    (21, 'vegetation', (107, 142, 35)), (22, 'terrain', (152, 251, 152)),
    (23, 'sky', (70, 130, 180)), (24, 'person', (220, 20, 60)), (25, 'rider', (255, 0, 0)),
    (26, 'car', (0, 0, 142)), (27, 'truck', (0, 0, 70)), (28, 'bus', (0, 60, 100)),
    (31, 'train', (0, 80, 100)), (32, 'motorcycle', (0, 0, 230)), (33, 'bicycle', (119, 11, 32)),
)

KNOWN = {
    'cityscapes': Known(
        image='image_left', mask='segmentation_label',
        classes=tuple(name for _, name, _ in _CITYSCAPES),
        colors=tuple(color for *_, color in _CITYSCAPES),
        label_map={raw: index for index, (raw, *_) in enumerate(_CITYSCAPES)},
        splits={'train': 'train', 'val': 'validation', 'test': 'test'}),
    # Parkhi et al. 2012: 1 is the animal, 2 the background, 3 the border, which is not scored.
    'oxford_iiit_pet': Known(
        image='image', mask='segmentation_mask', classes=('background', 'pet'),
        colors=((0, 0, 0), (250, 130, 30)), label_map={1: 1, 2: 0},
        splits={'train': 'train[:90%]', 'val': 'train[90%:]', 'test': 'test'}),
    'camvid': Known(
        image='image', mask='segmentation_mask',
        classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'signsymbol', 'fence',
                 'car', 'pedestrian', 'bicyclist'),
        colors=((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
                (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
                (0, 128, 192)),
        label_map={index: index for index in range(11)},
        splits={'train': 'train', 'val': 'val', 'test': 'test'}),
}
