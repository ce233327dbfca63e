"""Folders and arguments from which no experiment can be planned."""

import pathlib
from collections.abc import Iterator

import numpy as np

from experiments.reliability.cases import Case, bad_line, write_data, write_image

PLAN = ('plan', '--data.root=data', '--output=new.py')
LONG = 'a' * 300


def cases() -> Iterator[Case]:
    """All rows."""
    yield from _arguments()
    yield from _folders()


def _arguments() -> Iterator[Case]:
    def row(arguments, *words):
        return bad_line('plans: arguments', arguments, *words, prepare=write_data)

    yield row('plan', '--data.root')
    yield row('plan --data.root=data', '--output')
    yield row('plan --output=new.py', '--data.root')
    for bad in ('x', '--', '--config.steps=3', '--datas.root=x', '--data', '--forced', '-f'):
        yield row((*PLAN, bad), bad)
    for root in ('', ' ', 'none', '/none/x', 'tiny.py', '/dev/null', LONG, 'a\0b'):
        yield row(('plan', f'--data.root={root}', '--output=new.py'), '--data.root')
    for output in ('', ' ', 'new', 'new.txt', 'tiny.py', '/proc/x/a.py', f'{LONG}.py', 'data',
                   'tiny.py/a.py', 'a\0b.py'):
        yield row(('plan', '--data.root=data', f'--output={output}'), '--output')
    yield row((*PLAN[:2], '--output=data', '--force'), '--output')
    for name in ('minutes', 'memory'):
        for value in ('0', '-1', 'nan', 'inf', 'x', '', '1e400'):
            yield row((*PLAN, f'--{name}={value}'), name)
    for text in ('chanels=3', 'channels', 'channels=0', 'channels=x', 'classes=3', 'classes=["a"]',
                 'type=folder.Foldr', 'type=x', 'naming.mask=labels', 'labels.binry=true',
                 'splits={"train": 2}', 'type=', 'root=x', 'root.x=3', 'a.b.c=3', '=3'):
        yield row((*PLAN, f'--data.{text}'), ('data', 'label', '--output'))
    for path in ('', 'none.pth', 'tiny.py', 'data', '/dev/null'):
        yield row((*PLAN, f'--pretrained={path}'), path or '--pretrained')
    yield row((*PLAN, '--pretrained_type=torchvision.ResNet'), '--pretrained')
    yield row((*PLAN, '--pretrained=tiny.py', '--pretrained_type=torchvision.ResNt'),
              'torchvision.ResNet')


def _folders() -> Iterator[Case]:
    def row(name, prepare, *words, lines=1):
        return Case('plans: folders', name, PLAN, words, prepare, lines=lines)

    yield row('an empty folder', lambda folder: (folder / 'data').mkdir(), 'data')
    yield row('images without masks', lambda folder: write_image(folder / 'data/images/a.png'),
              'data')
    yield row('one image', lambda folder: _pairs(folder, [[0, 1]]), 'too few')
    yield row('masks of one value', lambda folder: _pairs(folder, [[3, 3]] * 4), 'value 3')
    yield row('masks of floating-point numbers', _float_masks, 'integers', lines=0)
    yield row('JSON that is damaged', _damaged_json, 'data', lines=0)
    yield row('an image that is damaged', _damaged_image, 'cannot be decoded', lines=0)
    yield row('an image without mask', lambda folder: (
        write_data(folder), write_image(folder / 'data/train/images/b.png')), 'no mask', lines=0)


def _pairs(folder: pathlib.Path, masks: list[list[int]]):
    for index, values in enumerate(masks):
        write_image(folder / f'data/images/{index}.png')
        mask = np.resize(np.array(values, np.uint8), (32, 40))
        write_image(folder / f'data/masks/{index}.png', mask)


def _float_masks(folder: pathlib.Path):
    _pairs(folder, [[0, 1]] * 4)
    for path in (folder / 'data/masks').iterdir():
        np.save(path.with_suffix('.npy'), np.zeros((32, 40), np.float32))
        path.unlink()


def _damaged_json(folder: pathlib.Path):
    write_image(folder / 'data/images/a.png')
    (folder / 'data/instances_train.json').write_text('{"images": [')


def _damaged_image(folder: pathlib.Path):
    write_data(folder)
    (folder / 'data/train/images/train0.png').write_bytes(b'x')
