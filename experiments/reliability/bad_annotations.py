"""COCO, LabelMe and one mask an object: JSON files and masks that are missing, broken or wrong."""

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.reliability.cases import Case, bad_config, write_image, write_json

SQUARE = [[4, 4, 20, 4, 20, 20, 4, 20]]
JSON_TEXTS = {'empty': b'', 'half of it': b'{"images": [', 'a list': b'[]', 'null': b'null',
              'bytes': bytes(range(256)), 'deep': b'[' * 100000, 'no keys': b'{}'}
# What is changed in the first image, annotation or category of the file, and what is named.
COCO: tuple[tuple[str, dict, Any], ...] = (
    ('annotations', {'category_id': 9}, 'category_id'), ('annotations', {'category_id': 'x'}, "x"),
    ('annotations', {'image_id': 9}, 'image_id'), ('annotations', {'image_id': {}}, 'image_id'),
    ('annotations', {'segmentation': []}, 'segmentation'),
    ('annotations', {'segmentation': 'x'}, 'segmentation'),
    ('annotations', {'segmentation': [[1, 2, 3]]}, 'segmentation'),
    ('annotations', {'segmentation': [[0, 0, 9, 0, 9, None]]}, 'segmentation'),
    ('annotations', {'segmentation': [[90, 0, 99, 0, 99, 9]]}, 'outside'),
    ('annotations', {'segmentation': {'size': [32, 40], 'counts': [1]}}, 'run lengths'),
    ('annotations', {'segmentation': {'size': [32, 40], 'counts': 'a'}}, 'run lengths'),
    ('annotations', {'segmentation': {'size': [1, 2], 'counts': [1, 1]}}, 'size'),
    ('images', {'file_name': 'none.png'}, 'none.png'), ('images', {'file_name': ''}, 'file_name'),
    ('images', {'file_name': '../a.png'}, '../a.png'), ('images', {'file_name': 3}, 'file_name'),
    ('images', {'file_name': 'train1.png'}, 'train1.png'), ('images', {'id': 1}, '1'),
    ('images', {'id': None}, 'id'), ('images', {'height': 64}, '64'),
    ('images', {'width': -1}, 'width'), ('categories', {'name': ''}, 'name'),
    ('categories', {'id': 1}, '1'), ('categories', {'id': None}, 'id'))
LABELME: tuple[tuple[dict, Any], ...] = (
    ({'shapes': 3}, 'shapes'), ({'shapes': [3]}, 'label'), ({'imageHeight': 64}, '64'),
    *(({'shapes': [{'label': 'a', 'points': [[1, 1], [9, 1], [9, 9]], **changes}]}, word)
      for changes, word in (
          ({'label': None}, 'label'), ({'label': 'c'}, "'c'"), ({'points': []}, 'points'),
          ({'points': [[1, 2, 3]]}, 'points'), ({'points': 'x'}, 'points'),
          ({'shape_type': 'star'}, 'star'), ({'shape_type': 'circle'}, 'circle'),
          ({'shape_type': 'linestrip'}, 'line_width'), ({'points': [[90, 1], [99, 1], [99, 9]]},
                                                        'outside'),
          ({'shape_type': 'mask', 'points': [[1, 1], [2, 2]], 'mask': 'x'}, 'base64'))))


def cases() -> Iterator[Case]:
    """All rows."""
    for subcommand in ('train', 'inspect'):
        for key, changes, word in COCO:
            yield _coco(subcommand, f'{key}: {changes}', word, lambda root, key=key,
                        changes=changes: _change(root / 'train.json', key, changes))
        for changes, word in LABELME:
            yield _labelme(subcommand, f'{changes}', word, lambda root, changes=changes: _change(
                root / 'train' / 'train0.json', None, changes))
    for name, text in JSON_TEXTS.items():
        yield _coco('train', f'train.json: {name}', 'train.json', lambda root, text=text: (
            root / 'train.json').write_bytes(text))
        yield _labelme('train', f'train0.json: {name}', 'train0.json', lambda root, text=text: (
            root / 'train' / 'train0.json').write_bytes(text))
    yield _coco('train', 'no JSON file', 'annotations', lambda root: [
        path.unlink() for path in root.glob('*.json')])
    yield _coco('train', 'no split train', "'train'", lambda root: (root / 'train.json').unlink())
    yield _labelme('train', 'no JSON file', 'train0', lambda root: (
        root / 'train' / 'train0.json').unlink())
    for name, mask, word in (('of 2', np.full((32, 40), 2), 'values'), ('of another size', np.ones(
            (9, 9)), '9x9'), ('in color', np.random.default_rng(0).integers(0, 9, (32, 40, 3)),
                              'colors')):
        yield _objects(f'a mask {name}', word, lambda root, mask=mask: write_image(
            root / 'train/masks/train0_0.png', mask.astype(np.uint8)))
    yield _objects('no mask', 'train0', lambda root: (root / 'train/masks/train0_0.png').unlink())
    yield _objects('a mask of no image', 'other', lambda root: write_image(
        root / 'train/masks/other_0.png', np.ones((32, 40), np.uint8)))


def _row(kind: str, subcommand: str, name: str, word: Any, write: Callable, damage: Callable,
         **fields: Any) -> Case:
    def prepare(folder: pathlib.Path):
        for split in ('train', 'val'):
            write(folder / 'data', split)
        damage(folder / 'data')

    case = bad_config(f'annotations: {kind}', name[:76], {'data': {'root': 'data', **fields}}, word,
                      prepare=prepare, subcommand=subcommand)
    lines = 0 if subcommand == 'inspect' else 1  # It lists all problems.
    return case._replace(name=f'{subcommand}: {case.name}', lines=lines)


def _coco(subcommand: str, name: str, word: Any, damage: Callable) -> Case:
    def write(root: pathlib.Path, split: str):
        images = [{'id': i, 'file_name': f'{split}{i}.png', 'height': 32, 'width': 40}
                  for i in range(4)]
        for image in images:
            write_image(root / 'images' / image['file_name'])
        write_json(root / f'{split}.json', {
            'images': images, 'categories': [{'id': i, 'name': 'abc'[i]} for i in range(2)],
            'annotations': [{'id': i, 'image_id': i, 'category_id': i % 2, 'segmentation': SQUARE}
                            for i in range(4)]})

    return _row('COCO', subcommand, name, word, write, damage, type='coco.Coco')


def _labelme(subcommand: str, name: str, word: Any, damage: Callable) -> Case:
    def write(root: pathlib.Path, split: str):
        for i in range(4):
            write_image(root / split / f'{split}{i}.png')
            write_json(root / split / f'{split}{i}.json', {
                'imageHeight': 32, 'imageWidth': 40, 'shapes': [
                    {'label': 'ab'[i % 2], 'shape_type': 'rectangle', 'points': [[4, 4], [9, 9]]}]})

    return _row('LabelMe', subcommand, name, word, write, damage, type='labelme.LabelMe',
                classes=['background', 'a', 'b'])


def _objects(name: str, word: Any, damage: Callable) -> Case:
    def write(root: pathlib.Path, split: str):
        for i in range(4):
            write_image(root / split / 'images' / f'{split}{i}.png')
            write_image(root / split / 'masks' / f'{split}{i}_0.png', np.eye(32, 40, i, np.uint8))

    return _row('objects', 'train', name, word, write, damage, type='object_masks.ObjectMasks')


def _change(path: pathlib.Path, key: str | None, changes: dict):
    """Changes the first entry of a list in a JSON file, or the file itself."""
    values = json.loads(path.read_text())
    (values if key is None else values[key][0]).update(changes)
    write_json(path, values)
