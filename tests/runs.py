"""A run of seconds, images and data for the tests of the command line."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

from jaxseg.commands import main
from jaxseg.records import read_record, write_record

# The schedule does not depend on the number of steps: runs of any length share compiled programs.
CONFIG = '''
"""Tiny."""
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=0, steps=12, batch_size=4, evaluate_every=4, report_every=2,
        data=dict(type='synthetic.Shapes', size=[32, 32], samples=dict(train=16, val=3, test=3)),
        transforms=[dict(type='transforms.RandomFlip')],
        model=dict(type='segmentation_model.SegmentationModel',
                   encoder=dict(type='vgg_like.VGGLike', widths=[8, 8], depth=1),
                   context=dict(type='identity.Identity'),
                   decoder=dict(type='unet.UNet', widths=[8, 8])),
        losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy', weight=1.0)),
        optimizer=dict(type='optimizer.adamw', learning_rate=3e-3),
        schedule=dict(type='schedule.constant', warmup=2),
    ))
'''

# Options of a shorter run, with checkpoints of steps 2 and 4.
STEPS = ['--config.steps=4', '--config.evaluate_every=2', '--config.report_every=4']


def write_config(folder: pathlib.Path) -> str:
    path = folder / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


def environment(**more: str) -> dict[str, str]:
    """One device: runs that are compared bit for bit must not be split."""
    return {**os.environ, 'JAX_NUM_CPU_DEVICES': '1', **more}


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, '-m', 'jaxseg', *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())


def finish(*arguments: str, **more: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'jaxseg', *arguments], capture_output=True,
                          text=True, env=environment(**more))


def refused(arguments: list[str], words: list[str], capfd):
    """Runs a command that must end with status 2 and one line of error that holds all words."""
    capfd.readouterr()
    assert main(arguments) == 2
    error = capfd.readouterr().err.strip()
    assert error.count('\n') == 0 and error.startswith(f'jaxseg {arguments[0]}: '), error
    assert all(word in error for word in words), error


def write_image(path: pathlib.Path, *shape: int):
    """An image of random pixels, of 32x32 RGB by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, shape or (32, 32, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def read_image(path: pathlib.Path) -> np.ndarray:
    """The pixels of an image as they are stored."""
    with Image.open(path) as image:
        return np.array(image)


def rewrite(path: pathlib.Path, **changes):
    """A sealed JSON file with other values, as only a hand could write it."""
    write_record(path, {**read_record(path), **changes})


def state_of(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    """When each file was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


def write_folder(root: pathlib.Path, count: int = 4):
    """A good data set: train and val, a dataset.json with three classes."""
    rng = np.random.default_rng(0)
    parts = (('images', (32, 40, 3), 256, 'jpg'), ('masks', (32, 40), 3, 'png'))
    for split in ('train', 'val'):
        for i in range(count):
            for part, shape, values, suffix in parts:
                path = root / split / part / f'{i}.{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, values, shape).astype(np.uint8)).save(path)
    (root / 'dataset.json').write_text(json.dumps({
        'classes': ['a', 'b', 'c'], 'colors': [[255, 0, 0], [0, 255, 0], [0, 0, 255]]}))
