"""Data folders: files that are missing, doubled, damaged or of a wrong kind, and dataset.json."""

import io
import pathlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from experiments.reliability.cases import (
    DESCRIPTION,
    FOLDER,
    OVERLAPPING,
    Case,
    bad_config,
    bad_line,
    write_data,
    write_image,
    write_json,
)

IMAGE, MASK = 'train/images/train0.png', 'train/masks/train0.png'
MASK_PIXELS = np.random.default_rng(0).integers(0, 3, (32, 40)).astype(np.uint8)
IMAGE_PIXELS = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)
FLAT = {'train': 0.5, 'val': 0.5}
# What dataset.json holds, and what the error names.
DESCRIPTIONS: tuple[tuple[Any, str], ...] = (
    ({'classes': []}, 'classes'), ({'classes': None}, 'classes'), ({'classes': 3}, 'classes'),
    ({'classes': 'abc'}, 'classes'), ({'classes': ['a', 'a', 'b']}, "'a'"),
    ({'classes': [1, 2, 3]}, 'classes'), ({'classes': [None]}, 'classes'),
    ({'classes': ['a'], 'colors': [[1, 1, 1]]}, "'a'"), ({'classes': {'a': 0, 'b': 1}}, 'classes'),
    ({'classes': ['a', 'b']}, 'colors'), ({'classes': ['a', ['b'], 'c']}, 'classes'),
    ({'colors': [[255, 0, 0]] * 3}, 'colors'), ({'colors': [[255, 0, 0]]}, 'colors'),
    ({'colors': ['red', 'green', 'blue']}, 'colors'), ({'colors': 3}, 'colors'),
    ({'colors': [[0, 0, 256], [0, 0, 1], [0, 0, 2]]}, '256'),
    ({'colors': [[0, 0, -1], [0, 0, 1], [0, 0, 2]]}, '-1'),
    ({'colors': [[0, 0], [0, 1], [0, 2]]}, 'colors'), ({'colors': {'a': [0, 0, 0]}}, 'colors'),
    ({'colors': [[0, 0, 0.5], [0, 0, 1], [0, 0, 2]]}, '0.5'), ({'colors': 'red'}, 'colors'),
    ({'colors': [None] * 3}, 'colors'), ({'colors': [[True, 0, 0]] * 3}, 'colors'),
    ({'ignore_index': 0}, 'ignore_index 0'), ({'ignore_index': 2}, 'ignore_index 2'),
    ({'ignore_index': -1}, 'ignore_index'), ({'ignore_index': 65536}, 'ignore_index'),
    ({'ignore_index': 'x'}, 'ignore_index'),
    ({'ignore_index': 2.5}, 'ignore_index'), ({'ignore_index': True}, 'ignore_index'),
    ({'ignore_index': [255]}, 'ignore_index'), ({'ignore_index': 10 ** 21}, 'ignore_index'),
    ({'ignore_color': [255, 0, 0]}, 'ignore_color'), ({'ignore_color': 'red'}, 'ignore_color'),
    ({'ignore_color': [1, 2]}, 'ignore_color'), ({'ignore_color': [1, 2, 300]}, 'ignore_color'),
    ({'ignore_color': 3}, 'ignore_color'), ({'ignore_color': {}}, 'ignore_color'),
    ({'mean': 0.5}, 'mean'), ({'mean': [0.5]}, 'mean'), ({'mean': [0.5] * 4}, 'mean'),
    ({'mean': [128] * 3}, 'mean'), ({'mean': ['x'] * 3}, 'mean'), ({'mean': [-0.1] * 3}, 'mean'),
    ({'mean': None}, 'mean'), ({'mean': []}, 'mean'), ({'mean': 'abc'}, 'mean'),
    ({'std': [0] * 3}, 'std'), ({'std': [-1] * 3}, 'std'), ({'std': [57] * 3}, 'std'),
    ({'std': [0.5] * 2}, '2 standard'), ({'std': None}, 'std'), ({'std': 0.5}, 'std'),
    ({'std': [None] * 3}, 'std'), ({'std': {}}, 'std'), ({'name': 3}, 'name'),
    ({'name': None}, 'name'), ({'name': []}, 'name'), ({'value_range': [0]}, 'value_range'),
    ({'value_range': [1, 0]}, 'value_range'), ({'value_range': [5, 5]}, 'value_range'),
    ({'value_range': 'x'}, 'value_range'), ({'value_range': ['a', 'b']}, 'value_range'),
    ({'value_range': 255}, 'value_range'), ({'value_range': [0, 1]}, 'value_range'),
    ({'value_range': [0, 10 ** 400]}, 'value_range'), ({'value_range': {}}, 'value_range'))
TEXTS = {'empty': b'', 'half of it': b'{"classes": ["a"', 'a list': b'[]', 'null': b'null',
         'a number': b'3', 'bytes': bytes(range(256)), 'UTF-16': '{}'.encode('utf-16'),
         'latin-1': '{"classes": ["\u00e9"]}'.encode('latin-1'), 'no JSON': b'classes: a\n',
         'NaN': b'{"mean": [NaN, NaN, NaN], "classes": ["a", "b", "c"]}', 'deep': b'[' * 100000,
         'a huge number': b'{"ignore_index": ' + b'9' * 5000 + b'}'}
OPTIONS: tuple[tuple[dict, str], ...] = (
    ({'root': 'none'}, 'data.root'), ({'root': ''}, 'data.root'), ({'root': 'tiny.py'},
                                                                   'data.root'),
    ({'root': 'data/train'}, 'train'), ({'root': 'a' * 300}, 'data.root'),
    ({'root': 'a\0b'}, 'data.root'), ({'root': '/proc/self/mem'}, 'data.root'),
    ({'root': '~nobody_there/x'}, 'data.root'), ({'classes': ['a', 'b']}, 'color'),
    ({'classes': ['a', 'a', 'b']}, "'a'"), ({'classes': []}, 'classes'),
    ({'colors': [[1, 1, 1]] * 3}, 'colors'), ({'ignore_index': 1}, 'ignore_index 1'),
    ({'channels': 1, 'value_range': [0, 1]}, 'value_range'),
    ({'channels': 5}, 'channels'), ({'channels': 2}, 'channels'),
    ({'value_range': [0, 1]}, 'value_range'), ({'value_range': [255, 0]}, 'value_range'),
    ({'value_range': [0, 4095]}, 'value_range'), ({'missing_masks': 'absent'}, 'missing_masks'),
    ({'splits': {'train': 0.9, 'val': 0.2}}, 'data.splits'),
    ({'splits': {'train': 0.0}}, 'data'), ({'splits': {'val': 1.0}}, 'train'),
    ({'naming': {'image': 'x'}}, 'naming'), ({'naming': {'images': ''}}, 'naming'),
    ({'naming': {'images': '..'}}, 'naming'), ({'naming': {'images': '/etc'}}, 'naming'),
    ({'naming': {'images': 'none'}}, 'data'), ({'naming': {'masks': 'none'}}, 'none'),
    ({'naming': {'mask_suffix': '_mask'}}, 'data'), ({'naming': {'images': 'a\0b'}}, 'data'),
    ({'naming': {'lists': '..'}}, 'naming.lists'), ({'naming': {'lists': 'none'}}, 'none'),
    ({'naming': {'group': 'a'}}, 'naming.group'),
    ({'naming': {'group': '('}, 'splits': FLAT}, 'naming.group'),
    ({'naming': {'images': 'a' * 300}}, 'data'), ({'labels': {'binry': True}}, 'binry'),
    ({'labels': {'binary': True}}, 'binary'), ({'labels': {'binary': 'yes'}}, 'binary'),
    ({'labels': {'label_map': {'0': 9}}}, 'label_map'), ({'labels': {'label_map': 3}}, 'label_map'),
    ({'labels': {'label_map': {'x': 1}}}, 'label_map'),
    ({'labels': {'label_map': {'-1': 1}}}, 'label_map'),
    ({'labels': {'label_map': {'²': 1}}}, 'label_map'),
    ({'labels': {'label_map': {'0': 'a'}}}, 'label_map'),
    ({'labels': {'encoding': 'index'}}, 'encoding'), ({'labels': {'encoding': 3}}, 'encoding'),
    ({'labels': {'reduce_zero_label': 1}}, 'reduce_zero_label'),
    ({'labels': {'reduce_zero_label': True, 'label_map': {'0': 1}}}, 'reduce_zero_label'),
    ({'labels': {'ignore_color': 'red'}}, 'ignore_color'),
    ({'labels': {'ignore_color': [255, 0, 0]}}, 'ignore_color'))


def _damaged() -> dict[str, bytes]:
    """Files that are no image, or not a whole one."""
    good = io.BytesIO()
    Image.fromarray(IMAGE_PIXELS).save(good, 'png')
    data = good.getvalue()
    jpeg = io.BytesIO()
    Image.fromarray(IMAGE_PIXELS).save(jpeg, 'jpeg')
    return {'empty': b'', 'text': b'no image\n', 'half': data[:len(data) // 2],
            'a header': data[:30],
            'cut at the end': data[:-20], 'half a JPEG': jpeg.getvalue()[:400], 'zeros': bytes(500),
            'HTML': b'<html></html>', 'a GIF header': b'GIF89a', 'a PNG signature': data[:8],
            'flipped bits': data[:60] + bytes(255 - b for b in data[60:120]) + data[120:],
            'a ZIP': b'PK\3\4' + bytes(100), 'a PDF': b'%PDF-1.4\n',
            'random': bytes(range(256)) * 4,
            'an LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n'}


def cases() -> Iterator[Case]:
    """All rows."""
    yield from (case for subcommand in ('train', 'inspect') for case in _listings(subcommand))
    yield from _files()
    for given, word in DESCRIPTIONS:
        yield _row('dataset.json', f'{given}', word,
                   lambda root, given=given: write_json(root / 'dataset.json',
                                                        {**DESCRIPTION, **given}))
    for name, text in TEXTS.items():
        yield _row('dataset.json', name, ('mean',) if name == 'NaN' else ('dataset.json',),
                   lambda root, text=text: (root / 'dataset.json').write_bytes(text))
    for options, word in OPTIONS:
        yield _row('options of a folder', f'{options}'[:90], word, None, **options)
    yield _row('dataset.json', 'missing', 'classes', lambda root: (root / 'dataset.json').unlink())
    yield from _predictions()


def _row(kind: str, name: str, words: Any, damage: Callable[[pathlib.Path], Any] | None,
         subcommand: str = 'train', changes: dict | None = None, **options: Any) -> Case:
    def prepare(folder: pathlib.Path):
        write_data(folder)
        if damage:
            damage(folder / 'data')

    words = (words,) if isinstance(words, str) else words
    case = bad_config(f'data: {kind}', name[:76], {'data': {**FOLDER, **options},
                                                   **(changes or {})},
                      *words, prepare=prepare, subcommand=subcommand)
    # An inspection lists all problems below their number.
    problems = subcommand == 'inspect' and kind == 'files of a folder'
    return case._replace(name=f'{subcommand}: {case.name}', lines=0 if problems else 1)


def _listings(subcommand: str) -> Iterator[Case]:
    """Which files there are."""
    def row(name: str, words: Any, damage: Callable, **options: Any) -> Case:
        return _row('files of a folder', name, words, damage, subcommand, **options)

    yield row('an image without mask', ('train0', 'no mask'), lambda root: (root / MASK).unlink())
    yield row('a mask without image', ('train0', 'no image'), lambda root: (root / IMAGE).unlink())
    for split in ('train', 'val'):
        for part in ('images', 'masks'):
            place = f'{split}/{part}'
            if place != 'val/images':  # Without it there is no such split, and none is needed.
                yield row(f'no folder {place}', ('data', split), partial(_remove, place=place))
            yield row(f'an empty {place}', (part, place), partial(_clear, place=place))
    yield row('all empty', 'empty', lambda root: [_clear(root, f'{split}/{part}') for split in (
        'train', 'val') for part in ('images', 'masks')])
    yield row('no split train', 'train', partial(_remove, place='train'))
    yield row('two images of a stem', 'train0', lambda root: write_image(
        root / 'train/images/train0.bmp', IMAGE_PIXELS))
    yield row('two masks of a stem', 'train0', lambda root: write_image(
        root / 'train/masks/train0.bmp', MASK_PIXELS))
    yield row('an image in two splits', ('train0', 'val'), lambda root: [
        shutil.copy(root / IMAGE, root / 'val/images/train0.png'),
        shutil.copy(root / MASK, root / 'val/masks/train0.png')])
    yield row('case differs', 'TRAIN0', lambda root: (root / MASK).rename(
        root / 'train/masks/TRAIN0.png'))
    yield row('a broken link', 'train0', lambda root: [
        (root / MASK).unlink(), (root / MASK).symlink_to('nowhere')])
    yield row('a folder as mask', 'train0', lambda root: [
        (root / MASK).unlink(), (root / MASK).mkdir()])
    yield row('fractions without a flat folder', 'data', lambda root: None, splits=FLAT)
    for name, content in (('names nothing', ''), ('names what is not there', 'none\n'),
                          ('names one twice', 'train0\ntrain0\n'),
                          ('is in latin-1', 'é'.encode('latin-1')), ('is in UTF-16',
                                                                     b'\xff\xfea\0'),
                          ('is binary', bytes(range(256)))):
        yield row(f'a list {name}', ('data', 'train'), partial(_flat, content=content))
    yield row('no list at all', 'train', partial(_flat, content=None))


def _remove(root: pathlib.Path, place: str):
    shutil.rmtree(root / place)


def _clear(root: pathlib.Path, place: str):
    shutil.rmtree(root / place)
    (root / place).mkdir()


def _flat(root: pathlib.Path, content: str | bytes | None):
    """The layout with lists."""
    for part in ('images', 'masks'):
        shutil.move(root / 'train' / part, root / part)
    shutil.rmtree(root / 'train')
    shutil.rmtree(root / 'val')
    if content is not None:
        (root / 'train.txt').write_bytes(content.encode() if isinstance(content, str) else content)


def _files() -> Iterator[Case]:
    """What the files hold."""
    def image(name: str, array: np.ndarray, file: str = IMAGE, **options: Any) -> Case:
        place = 'train/masks' if 'masks' in file else 'train/images'
        return _row('masks' if 'masks' in file else 'images', name, pathlib.Path(file).name,
                    lambda root: [(root / place / 'train0.png').unlink(),
                                  write_image(root / file, array, **options)])

    for part, file in (('images', IMAGE), ('masks', MASK)):
        for name, data in _damaged().items():
            yield _row(part, f'{part}: {name}', 'train0.png',
                       lambda root, file=file, data=data: (root / file).write_bytes(data))
    sixteen, floats = IMAGE_PIXELS[..., 0].astype(np.uint16) * 256, MASK_PIXELS.astype(np.float32)
    yield image('a larger image', np.zeros((64, 80, 3), np.uint8))
    yield image('a turned image', np.zeros((40, 32, 3), np.uint8))
    for array in (floats, MASK_PIXELS.astype(np.int32)):
        case = image(f'an image of {array.dtype}', array, 'train/images/train0.tif')
        yield case._replace(words=('data.value_range', f'1 of {array.dtype}'))
    yield image('a JPEG as mask', MASK_PIXELS, 'train/masks/train0.jpg')
    yield image('a lossy WebP as mask', IMAGE_PIXELS, 'train/masks/train0.webp', quality=50)
    yield image('a JPEG in TIFF as mask', MASK_PIXELS, 'train/masks/train0.tif', compression='jpeg')
    for name, array in (
            ('a label above the classes', MASK_PIXELS + np.uint8(1)), ('a photograph',
                                                                       IMAGE_PIXELS),
            ('a label of 254', np.full((32, 40), 254, np.uint8)), ('16 bits', sixteen),
            ('transparent', np.dstack([IMAGE_PIXELS, IMAGE_PIXELS[..., 0]])),
            ('a color of no class', np.full((32, 40, 3), 7, np.uint8)),
            ('a smaller mask', MASK_PIXELS[:16, :20]), ('a turned mask', MASK_PIXELS.T.copy()),
            ('one column less', MASK_PIXELS[:, :39].copy())):
        yield image(name, array, MASK)
    yield image('a float mask', floats, 'train/masks/train0.tif')
    void = np.full((32, 40), 255, np.uint8)
    for split in ('train', 'val'):
        yield _row('masks', f'no labelled pixel in {split}', (split, 'labelled'),
                   lambda root, split=split: [write_image(path, void) for path in
                                              sorted((root / split / 'masks').iterdir())])
    yield _row('images', 'two sizes make no batch', ('64', 'transforms'), lambda root: [
        write_image(root / IMAGE, np.zeros((64, 80, 3), np.uint8)),
        write_image(root / MASK, np.zeros((64, 80), np.uint8))])
    yield _row('masks', 'overlapping without folders of classes', 'masks', None,
               changes={**OVERLAPPING, 'data': {**FOLDER, 'overlapping': True}})


def _predictions() -> Iterator[Case]:
    """Images that cannot be predicted: a list of them, in one line."""
    base = ('predict', '--workdir=work', '--input=in', '--output=out')

    def row(name: str, word: str, prepare: Callable, arguments: tuple[str, ...] = base) -> Case:
        return bad_line('data: images to predict', arguments, word,
                        prepare=prepare)._replace(name=f'predict: {name}')

    for name, data in _damaged().items():
        yield row(name, 'a.png', partial(_put, name='a.png', data=data))
    for name in ('.hidden.png', 'a.txt', 'a.svg', 'a.json', 'Thumbs.db', '.DS_Store', 'a'):
        yield row(f'only {name}', '--input', partial(_put, name=name, data=b'x'))
    yield row('an empty folder', '--input', lambda folder: (folder / 'in').mkdir())
    yield row('a text file', 'tiny.py', lambda folder: None, (*base[:2], '--input=tiny.py',
                                                              base[3]))
    yield row('a folder called a.png', '--input', lambda folder: (folder / 'in/a.png').mkdir(
        parents=True))
    yield row('a broken link', '--input', lambda folder: [
        (folder / 'in').mkdir(), (folder / 'in/a.png').symlink_to('nowhere')])
    for suffix, array in (('tif', np.zeros((8, 8), np.float32)), ('tif', np.zeros((8, 8),
                                                                                  np.int32)),
                          ('png', np.zeros((8, 8), np.uint16))):
        yield row(f'{suffix} of {array.dtype}', f'a.{suffix}',
                  lambda folder, suffix=suffix, array=array: write_image(
                      folder / f'in/a.{suffix}', array))


def _put(folder: pathlib.Path, name: str, data: bytes):
    (folder / 'in').mkdir()
    (folder / 'in' / name).write_bytes(data)
