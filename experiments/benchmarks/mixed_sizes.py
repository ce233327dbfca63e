"""Evaluation over images of random sizes: compilations, memory and equality of the scores.

    python experiments/benchmarks/mixed_sizes.py [--images 400] [--whole 24] [--csv FILE]

Images of 200 to 900 pixels a side are drawn from a seed while they are read, and go through a fully
convolutional model. Each method runs in a process of its own, whose peak of resident memory counts:
sliding windows over all images in batches, the same windows with one image at a time, and the first
images in one piece, in batches and by a plain `model.apply` at their true size. Confusion matrices
must be equal within each pair. Memory of a process that has only started is the row `start`.

Measured (mixed_sizes.csv, 2 busy cores): all 400 images with one program and at most 217 MiB more
than a process that has only started, counts equal to those of one image at a time.
"""

import argparse
import functools
import json
import pathlib
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import machine, write  # noqa: E402

from jaxseg.data.device_transforms import Normalize  # noqa: E402
from jaxseg.data.pipeline import eval_samples  # noqa: E402
from jaxseg.data.spec import DatasetSpec  # noqa: E402
from jaxseg.decoders.unet import UNet  # noqa: E402
from jaxseg.encoders.vgg_like import VGGLike  # noqa: E402
from jaxseg.inference.sliding import SlidingWindow  # noqa: E402
from jaxseg.inference.whole import Whole  # noqa: E402
from jaxseg.losses.cross_entropy import cross_entropy  # noqa: E402
from jaxseg.losses.weighted import WeightedSum  # noqa: E402
from jaxseg.models.segmentation_model import SegmentationModel  # noqa: E402
from jaxseg.tasks.semantic import Semantic  # noqa: E402
from jaxseg.training.evaluation import evaluate  # noqa: E402

SPEC = DatasetSpec('blocks', ('red', 'green', 'blue'), mean=(0.5,) * 3, std=(0.3,) * 3)
TASK = Semantic(SPEC.classes, WeightedSum({'cross_entropy': (1.0, cross_entropy)}), False)
MODEL = SegmentationModel(VGGLike((8, 16, 32), depth=1, stem_stride=2), UNet((16, 16, 8)),
                          len(SPEC.classes))
METHODS = ('start', 'sliding', 'sliding, one image at a time', 'whole', 'whole, model.apply')
COLUMNS = ('method', 'images', 'compilations', 'peak_mib', 'seconds', 'same_confusion_matrix')


class Blocks:
    """Image i: blocks of color, labelled by their strongest channel, some of them void."""

    def __init__(self, images: int):
        self.images = images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        height, width, side = rng.integers(200, 901), rng.integers(200, 901), 20
        blocks = rng.integers(0, 256, (height // side + 1, width // side + 1, 3), np.uint8)
        mask = blocks.argmax(-1).astype(np.uint8)
        mask[rng.random(mask.shape) < 0.1] = SPEC.ignore_index
        image, mask = (part.repeat(side, 0).repeat(side, 1)[:height, :width]
                       for part in (blocks, mask))
        return {'image': image, 'mask': mask, 'name': str(index)}


def forward(variables: dict, images: jax.Array) -> dict:
    """Outputs for images as read."""
    normalize = Normalize(SPEC.mean, SPEC.std, SPEC.value_range)
    return MODEL.apply(variables, normalize({'image': images}, None)['image'], train=False)


def confusion(method: str, images: int) -> tuple[np.ndarray, int]:
    """The confusion matrix, and the number of programs compiled."""
    # These random numbers compile several times as fast as the default ones.
    variables = jax.jit(functools.partial(MODEL.init, train=False))(
        jax.random.key(0, impl='rbg'), jnp.zeros((1, 64, 64, 3)))
    samples, scores = eval_samples(Blocks(images), spec=SPEC), TASK.scores()
    if method == 'whole, model.apply':
        apply = jax.jit(lambda images: TASK.predictions(forward(variables, images)))
        for sample in samples:
            found = np.asarray(apply(sample['image'][None]))[0]
            scores = scores.count(sample['label'], found, sample['valid'])
        return scores.matrix, apply._cache_size()
    kind = functools.partial(SlidingWindow, window=(256, 256)) if 'sliding' in method else Whole
    inference = kind(forward, TASK, 8)
    # A generator: of all images only those in work are in memory.
    groups = ([sample] for sample in samples) if 'one image' in method else [samples]
    for group in groups:
        found = evaluate(functools.partial(inference.predictions, variables), group, TASK.scores())
        scores = scores.merge(found)
    return scores.matrix, inference.compilations


def measure(method: str, images: int):
    """One method in this process; prints a line of JSON."""
    start, matrix, compilations = time.perf_counter(), np.zeros(0), 0
    if method == 'start':
        jnp.zeros(1).block_until_ready()
    else:
        matrix, compilations = confusion(method, images)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({'method': method, 'images': images, 'compilations': compilations,
                      'peak_mib': round(peak), 'seconds': round(time.perf_counter() - start, 1),
                      'matrix': matrix.tolist()}))


def main():
    """Measures every method, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=400)
    parser.add_argument('--whole', type=int, default=24, help='images that go through in one piece')
    parser.add_argument('--csv', type=pathlib.Path)
    parser.add_argument('--method', choices=METHODS, help='this one alone, as JSON')
    arguments = parser.parse_args()
    if arguments.method:
        measure(arguments.method, arguments.images)
        return
    print(machine(), flush=True)
    rows, previous = [], None
    for method in METHODS:
        images = {'start': 0, 'sliding': arguments.images}.get(
            method.partition(',')[0], arguments.whole)
        found = subprocess.run([sys.executable, __file__, f'--method={method}',
                                f'--images={images}'], capture_output=True, text=True, check=True)
        row = json.loads(found.stdout)
        matrix = row.pop('matrix')
        row['same_confusion_matrix'] = matrix == previous if ',' in method else ''
        previous = matrix
        rows.append(row)
        print('  '.join(f'{name} {value}' for name, value in row.items()), flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
