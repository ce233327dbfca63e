"""A run of seconds, for the tests of the command line."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

CONFIG = '''
"""Tiny."""
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=0, steps=12, batch_size=4, evaluate_every=4, report_every=2,
        data=dict(type='synthetic.Shapes', size=[32, 32], samples=dict(train=16, val=3, test=3)),
        transforms=[dict(type='transforms.RandomFlip')],
        model=dict(type='segmentation_model.SegmentationModel', encoder=dict(type='vgg_like.VGGLike', widths=[8, 8], depth=1),
                   context=dict(type='identity.Identity'), decoder=dict(type='unet.UNet', widths=[8, 8])),
        losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy', weight=1.0)),
        optimizer=dict(type='optimizer.adamw', learning_rate=3e-3),
        schedule=dict(type='schedule.cosine', warmup=2),
    ))
'''


def write_config(folder: pathlib.Path) -> str:
    path = folder / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


def environment(**more: str) -> dict[str, str]:
    """One device: what is compared bit for bit must not be split."""
    return {**os.environ, 'JAX_NUM_CPU_DEVICES': '1', **more}


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, '-m', 'jaxseg', *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment())


def finish(*arguments: str, **more: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-m', 'jaxseg', *arguments], capture_output=True, text=True,
                          env=environment(**more))


def write_folder(root: pathlib.Path, count: int = 4):
    """A good data set: train and val, a dataset.json with three classes."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i in range(count):
            for part, shape, values, suffix in (('images', (32, 40, 3), 256, 'jpg'), ('masks', (32, 40), 3, 'png')):
                path = root / split / part / f'{i}.{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, values, shape).astype(np.uint8)).save(path)
    (root / 'dataset.json').write_text(json.dumps({
        'classes': ['a', 'b', 'c'], 'colors': [[255, 0, 0], [0, 255, 0], [0, 0, 255]]}))
