"""What a bad input is: a command line, a folder in which it is bad,
and what the error must name."""

import copy
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Prepare = Callable[[pathlib.Path], Any]

# A run of milliseconds, valid as it is; a row changes one thing.
TINY = {
    'steps': 2, 'batch_size': 4, 'evaluate_every': 2, 'report_every': 2,
    'data': {'type': 'synthetic.Shapes', 'size': [32, 32],
             'samples': {'train': 4, 'val': 4, 'test': 1}},
    'transforms': [],
    'model': {'type': 'segmentation_model.SegmentationModel',
              'encoder': {'type': 'vgg_like.VGGLike', 'widths': [4], 'depth': 1},
              'context': [], 'decoder': {'type': 'fcn.FCN', 'widths': [4]}},
    'losses': {'cross_entropy': {'type': 'cross_entropy.cross_entropy', 'weight': 1.0}},
    'optimizer': {'type': 'optimizer.adamw', 'learning_rate': 0.001},
    'schedule': {'type': 'schedule.constant'},
    'task': {'type': 'semantic.Semantic'},
    'inference': {'type': 'whole.Whole'},
}
FOLDER = {'type': 'folder.Folder', 'root': 'data'}
OVERLAPPING = {
    'data.overlapping': True, 'task': {'type': 'multilabel.Multilabel'},
    'losses': {'bce': {'type': 'binary_cross_entropy.binary_cross_entropy'}}}
DESCRIPTION = {'classes': ['a', 'b', 'c'], 'colors': [[255, 0, 0], [0, 255, 0], [0, 0, 255]]}


class Case(NamedTuple):
    """One bad input.

    Attributes:
      kind: the group of rows that it is counted in.
      name: what is bad.
      arguments: of `jaxseg`; paths are relative to the folder of the case. It holds tiny.py, a
        config, and `work`, a trained work directory, where an argument names it.
      words: what the line of error must contain; of a tuple in it, any one.
      prepare: makes the folder bad.
      status: the exit status.
      lines: lines on stderr; 0 for any number, as `inspect` lists all problems.
    """

    kind: str
    name: str
    arguments: tuple[str, ...]
    words: tuple[str | tuple[str, ...], ...]
    prepare: Prepare | None = None
    status: int = 2
    lines: int = 1


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tiny config with `{dotted key: value}` set."""
    config = copy.deepcopy(TINY)
    for key, value in copy.deepcopy(dict(changes)).items():
        *parents, last = key.split('.')
        place: Any = config
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return config


def write_config(path: pathlib.Path, config: Any):
    """An experiment file that returns a config of plain values, NaN and infinity among them."""
    path.write_text('"""Tiny."""\nnan, inf = float("nan"), float("inf")\n\n\n'
                    f'def get_config():\n    return {config!r}\n', encoding='utf-8')


def bad_config(kind: str, name: str, changes: Mapping[str, Any], *words: Any,
               subcommand: str = 'train', prepare: Prepare | None = None, **more: Any) -> Case:
    """A training (or an inspection) of the tiny config with changes."""
    def write(folder: pathlib.Path):
        write_config(folder / 'tiny.py', changed(changes))
        if prepare:
            prepare(folder)

    place = '--workdir=new' if subcommand == 'train' else '--output=new'
    return Case(kind, name, (subcommand, '--config=tiny.py', place), words, write, **more)


def bad_line(kind: str, arguments: str | Sequence[str], *words: Any, **more: Any) -> Case:
    """A command line, named by itself."""
    arguments = tuple(arguments.split(' ') if isinstance(arguments, str) else arguments)
    return Case(kind, shorten(' '.join(arguments)), arguments, words, **more)


def shown(value: Any) -> tuple[str, ...]:
    """The ways in which a message may show a value."""
    found = [repr(value), repr(_tuples(value)), str(value)]
    return tuple(text[:200] for text in dict.fromkeys(found))


def shorten(text: str) -> str:
    """A text as the name of a row."""
    plain = text.encode('ascii', 'backslashreplace').decode().replace('\n', ' ').replace('|', '/')
    return plain if len(plain) <= 76 else f'{plain[:60]}... ({len(plain)} characters)'


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def write_image(path: pathlib.Path, array: np.ndarray | None = None, **options: Any):
    """An image file; by default grey noise of 32x40."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        seed = sum(path.stem.encode())
        array = np.random.default_rng(seed).integers(0, 256, (32, 40, 3)).astype(np.uint8)
    Image.fromarray(array).save(path, **options)


def write_data(folder: pathlib.Path, splits: Sequence[str] = ('train', 'val'), count: int = 4):
    """A good data set in `folder/data`, of three classes."""
    for split in splits:
        for index in range(count):
            write_image(folder / 'data' / split / 'images' / f'{split}{index}.png')
            mask = np.random.default_rng(index).integers(0, 3, (32, 40)).astype(np.uint8)
            write_image(folder / 'data' / split / 'masks' / f'{split}{index}.png', mask)
    write_json(folder / 'data' / 'dataset.json', DESCRIPTION)


def write_json(path: pathlib.Path, values: Any):
    """A JSON file."""
    path.write_text(json.dumps(values), encoding='utf-8')
