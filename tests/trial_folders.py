"""Small folders in the style of well-known data sets, to try everything that takes a folder.

Each function writes one into an empty folder: below 1 MB, the same bytes each time, and learnable
by a small network in about a minute on two cores. `TRIALS` names them all.
"""

import json
import pathlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from tests.trial_drawing import (
    around,
    as_bytes,
    corners_of,
    metal_parts,
    photo,
    run_lengths,
    some_object,
)

VOID = 255


def palette_masks(root: pathlib.Path, seed: int = 0):
    """VOC tree: palette masks with a void border around objects, and lists of stems.

    32 RGB images of 96 to 128 pixels; background, disc, square, triangle; 4 images have no mask and
    are in no list.
    """
    rng = np.random.default_rng(seed)
    colors = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    _describe(root, ('background', 'disc', 'square', 'triangle'), colors)
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    stems = [f'2026_{index:06d}' for index in range(32)]
    for number, stem in enumerate(stems):
        height, width = rng.integers(96, 129, 2)
        mask = np.zeros((height, width), np.uint8)
        border = np.zeros_like(mask)
        for _ in range(rng.integers(1, 4)):
            label, points = some_object(rng, height, width)
            cv2.fillPoly(mask, [points], int(label))
            cv2.fillPoly(border, [points], 0)
            cv2.polylines(border, [points], True, 1, 3)
        shades = np.array([(104, 116, 88), (176, 84, 72), (84, 96, 168), (188, 172, 84)])
        image = photo(rng, shades[mask], noise=14)
        _save(root / 'JPEGImages' / f'{stem}.jpg', image, quality=85)
        if number < 28:
            void = Image.fromarray(np.where(border > 0, VOID, mask).astype(np.uint8))
            palette = np.full((256, 3), 0, np.uint8)
            palette[:4], palette[VOID] = colors, (224, 224, 192)
            void.putpalette(palette.tobytes())
            _save(root / 'SegmentationClass' / f'{stem}.png', void)
    (lists / 'train.txt').write_text('\n'.join(stems[:20]) + '\n')
    (lists / 'val.txt').write_text('\n'.join(stems[20:28]) + '\n')
    (lists / 'trainval.txt').write_text('\n'.join(stems[:28]) + '\n')


def object_masks(root: pathlib.Path, seed: int = 0):
    """Nuclei, one mask file an object: `STEM/images/STEM.png` and `STEM/masks/*.png`.

    28 images of 96 to 128 pixels, grey saved as RGBA, as in the Data Science Bowl of 2018; nuclei
    touch but do not overlap.
    """
    rng = np.random.default_rng(seed)
    for _ in range(28):
        stem = rng.bytes(8).hex()
        height, width = rng.integers(96, 129, 2)
        nuclei, light = [], np.zeros((height, width), np.float32)
        taken = np.zeros((height, width), bool)
        for _ in range(rng.integers(5, 12)):
            centre = tuple(int(rng.integers(0, size)) for size in (width, height))
            axes = tuple(int(axis) for axis in rng.integers(6, 13, 2))
            drawn = np.zeros((height, width), np.uint8)
            cv2.ellipse(drawn, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
            nucleus = (drawn > 0) & ~taken
            if nucleus.sum() < 0.6 * drawn.sum() or not nucleus.any():
                continue
            taken |= nucleus
            nuclei.append(nucleus)
            light += nucleus * rng.uniform(70, 170)
        grey = cv2.GaussianBlur(light, (0, 0), 1.2) + 16 + rng.normal(0, 5, light.shape)
        grey = np.clip(grey, 0, 255).astype(np.uint8)
        rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
        _save(root / stem / 'images' / f'{stem}.png', rgba)
        for nucleus in nuclei:
            path = root / stem / 'masks' / f'{rng.bytes(8).hex()}.png'
            _save(path, nucleus.astype(np.uint8) * 255)


def thin_lines(root: pathlib.Path, seed: int = 0):
    """Grey microscopy: dark membranes 1 to 3 pixels wide between cells, masks of 0 and 255.

    30 images of 128 x 128 pixels, without splits. Organelles are as dark as the membranes, but
    round.
    """
    rng = np.random.default_rng(seed)
    size = 128
    rows, columns = np.mgrid[:size, :size]
    for index in range(30):
        centres = rng.uniform(-10, size + 10, (14, 2))
        bent = cv2.GaussianBlur(rng.normal(0, 30, (size, size)).astype(np.float32), (0, 0), 6)
        owner = np.hypot((rows + bent)[..., None] - centres[:, 0],
                         (columns - bent)[..., None] - centres[:, 1]).argmin(-1)
        membrane = np.zeros((size, size), np.uint8)
        membrane[:, 1:] |= owner[:, 1:] != owner[:, :-1]
        membrane[1:] |= owner[1:] != owner[:-1]
        if index % 2:
            membrane = cv2.dilate(membrane, np.ones((1, 2), np.uint8))
        grey = np.where(membrane, 70, rng.uniform(130, 190, 14)[owner])
        for _ in range(rng.integers(4, 9)):
            centre = rng.uniform(8, size - 8, 2)
            inside = np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(2.5, 5)
            grey = np.where(inside & (membrane == 0), 85, grey)
        grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)
        grey += rng.normal(0, 7, grey.shape)
        _save(root / 'images' / f'section_{index:02d}.png', as_bytes(grey))
        _save(root / 'masks' / f'section_{index:02d}.png', membrane * 255)


def large_photos(root: pathlib.Path, seed: int = 0):
    """Few large RGB photos as JPEG, with masks of colors that dataset.json names.

    6 aerial views of 704 x 896 pixels, without splits: fields, a road and a lake.
    """
    rng = np.random.default_rng(seed)
    colors = ((124, 252, 0), (105, 105, 105), (30, 144, 255))
    _describe(root, ('field', 'road', 'lake'), colors)
    height, width = 704, 896
    for index in range(6):
        mask = np.zeros((height, width), np.uint8)
        centre = rng.uniform((250, 200), (width - 250, height - 200))
        lake = around(centre, rng.uniform(110, 220, 14), np.sort(rng.uniform(0, 2 * np.pi, 14)))
        cv2.fillPoly(mask, [lake.astype(np.int32)], 2)
        ends = rng.integers(0, height, 4)
        road = np.stack([np.linspace(0, width, 4), ends], -1).astype(np.int32)
        cv2.polylines(mask, [road], False, 1, int(rng.integers(16, 28)))
        shades = np.array([rng.uniform((80, 110, 50), (130, 150, 80)), (128, 126, 122),
                           (52, 84, 108)])
        image = photo(rng, shades[mask], noise=5)
        rows = 10 * np.sin(np.arange(height)[:, None] / rng.uniform(2, 4))  # furrows of a plough
        image = as_bytes(image + np.where(mask == 0, rows, 0)[..., None])
        _save(root / 'images' / f'DJI_{index:04d}.JPG', image, quality=80)
        _save(root / 'masks' / f'DJI_{index:04d}.png', np.array(colors, np.uint8)[mask])


def satellite_tiles(root: pathlib.Path, seed: int = 0):
    """6-channel 16-bit TIFF tiles of 64 x 64 pixels: 8 scenes of 4 tiles, without splits.

    soil, water and forest differ in the last three channels alone; the first three show relief.
    Pixels without data are 0 in all channels and void in the mask.
    """
    import tifffile

    rng = np.random.default_rng(seed)
    _describe(root, ('soil', 'water', 'forest'), ((160, 120, 80), (0, 0, 200), (0, 100, 0)))
    infrared = np.array([(5200, 6400, 5600), (900, 500, 300), (8800, 3600, 1800)])
    (root / 'images').mkdir(parents=True)
    for scene in range(8):
        fields = cv2.GaussianBlur(rng.normal(0, 1, (128, 128, 3)).astype(np.float32), (0, 0), 9)
        mask = (fields / fields.std((0, 1))).argmax(-1).astype(np.uint8)
        relief = cv2.GaussianBlur(rng.normal(0, 1, (128, 128)).astype(np.float32), (0, 0), 5)
        relief *= 400 / relief.std()
        pixels = np.concatenate([np.array([2600, 2400, 2200]) + relief[..., None],
                                 infrared[mask]], -1)
        pixels = (pixels + rng.normal(0, 150, pixels.shape)).clip(128, 65535) // 64 * 64
        edge = np.add.outer(np.arange(128), np.arange(128)) < rng.integers(0, 40)
        pixels, mask = np.where(edge[..., None], 0, pixels), np.where(edge, VOID, mask)
        for tile in range(4):
            rows, columns = (slice(64 * at, 64 * at + 64) for at in divmod(tile, 2))
            stem = f'scene{scene}_tile{tile}'
            tifffile.imwrite(root / 'images' / f'{stem}.tif',
                             pixels[rows, columns].astype(np.uint16), photometric='minisblack',
                             planarconfig='contig', compression='zlib', predictor=True,
                             metadata=None)
            _save(root / 'masks' / f'{stem}.png', mask[rows, columns].astype(np.uint8))


def json_polygons(root: pathlib.Path, seed: int = 0):
    """LabelMe: one JSON of polygons beside each image, 30 JPEG images in train and val.

    bolts, nuts and washers on a metal sheet, 112 x 144 pixels; a shape `_ignore_` is void.
    """
    rng = np.random.default_rng(seed)
    for index in range(30):
        image, shapes = metal_parts(rng)
        folder, stem = root / ('train' if index < 22 else 'val'), f'part_{index:03d}'
        _save(folder / f'{stem}.jpg', image, quality=85)
        drawn = [{'label': label, 'points': points, 'group_id': None, 'shape_type': kind,
                  'flags': {}} for label, kind, points in shapes]
        _write_json(folder / f'{stem}.json', {
            'version': '5.2.1', 'flags': {}, 'shapes': drawn, 'imagePath': f'{stem}.jpg',
            'imageData': None, 'imageHeight': image.shape[0], 'imageWidth': image.shape[1]})


def coco_polygons(root: pathlib.Path, seed: int = 0):
    """The images of `json_polygons` as COCO: `images/` and `annotations/instances_SPLIT.json`."""
    rng = np.random.default_rng(seed)
    names = ('bolt', 'nut', 'washer')
    documents = {split: {'info': {}, 'licenses': [], 'images': [], 'annotations': [],
                         'categories': [{'id': 7 * i + 1, 'name': name, 'supercategory': 'part'}
                                        for i, name in enumerate(names)]}
                 for split in ('train', 'val')}
    for index in range(30):
        image, shapes = metal_parts(rng)
        document, name = documents['train' if index < 22 else 'val'], f'part_{index:03d}.jpg'
        _save(root / 'images' / name, image, quality=85)
        document['images'].append({'id': 100 + index, 'file_name': name,
                                   'height': image.shape[0], 'width': image.shape[1]})
        for label, kind, points in shapes:
            corners = corners_of(kind, points)
            left, top = corners.min(0)
            box = [left, top, *np.ptp(corners, 0)]
            document['annotations'].append({
                'id': sum(len(each['annotations']) for each in documents.values()) + 1,
                'image_id': 100 + index, 'iscrowd': 0, 'area': float(np.prod(box[2:])),
                'category_id': 7 * names.index(label if label in names else 'bolt') + 1,
                'bbox': [float(value) for value in box],
                'segmentation': [corners.ravel().tolist()]})
            if label not in names:
                document['annotations'][-1].update(iscrowd=1, segmentation=run_lengths(
                    corners, image.shape[:2]))
    for split, document in documents.items():
        _write_json(root / 'annotations' / f'instances_{split}.json', document)


TRIALS: dict[str, Callable[[pathlib.Path], None]] = {
    function.__name__: function for function in (
        palette_masks, object_masks, thin_lines, large_photos, satellite_tiles, json_polygons,
        coco_polygons)}


def _save(path: pathlib.Path, image: np.ndarray | Image.Image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)


def _describe(root: pathlib.Path, classes: tuple[str, ...], colors: tuple):
    _write_json(root / 'dataset.json', {'classes': classes, 'colors': colors})


def _write_json(path: pathlib.Path, values: dict):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
