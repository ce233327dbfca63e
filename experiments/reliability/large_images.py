"""Images that are too large for the memory, under limits of it.

    python -m experiments.reliability.large_images [--short]
        [--table=experiments/results/large_images.md]

The limit is one of the address space (RLIMIT_AS), so that a command that takes more cannot succeed.
A folder of small images and a large one is predicted under several limits: status 0, nothing on
stderr, no abort; the small ones as without a limit, byte for byte; the large one as without a limit
where the command does not name it, else as with `--config.inference.type=sliding.SlidingWindow`.
Under the lower limits it must be named, without a limit it must not. `evaluate` must count it in
`windowed`, and score what `predict` writes. A validation goes on in windows and says so; a training
step that cannot fit is refused with both figures, and nothing but the lock is written. An image of
12,000 x 12,000 is judged by the estimate alone: nothing of this size is computed.
"""

import json
import pathlib
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.reliability.cases import (
    FOLDER,
    changed,
    write_config,
    write_data,
    write_image,
)
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import Trial, program, start, unexpected_text, wrong_refusal
from jaxseg.commands.workdir import open_workdir

GIB, WIDTH = 2 ** 30, 32
CONFIG = {'data': FOLDER, 'model.encoder.widths': [WIDTH]}
WINDOWS = '--config.inference.type=sliding.SlidingWindow'
NAMED = 'need more memory in one piece than there is'
# Limits in GiB: under the first ones the large image cannot be in one piece.
TOO_LOW, OTHERS = (2.0, 2.5, 3.0, 3.5, 4.0), (4.5, 5.0, 6.0, 8.0)
SIZE, SHORT_SIZE, SHORT_LIMIT = (3000, 4000), (2000, 2500), 2.0


def trials(short: bool) -> Iterator[Trial]:
    """All limits; with `short` one, and a smaller image."""
    with tempfile.TemporaryDirectory() as place:
        setting = _Setting(pathlib.Path(place), SHORT_SIZE if short else SIZE)
        lowest, others = ((SHORT_LIMIT,), ()) if short else (TOO_LOW, OTHERS)
        if not short:
            yield setting.predict(None)
        for limit in (*lowest, *others):
            yield setting.predict(limit, must_be_named=limit in lowest)
        for limit in lowest[-2:]:
            yield setting.evaluate(limit)
            yield setting.train_too_much(limit)
        if not short:
            yield setting.validate(lowest[-1])
        yield setting.estimate((12_000, 12_000), 8 * GIB)


class _Setting:
    """A trained run, images, and what is predicted for them without a limit."""

    def __init__(self, root: pathlib.Path, size: tuple[int, int]):
        self._root, self._environment, self._count = root, quick(root / 'cache'), 0
        write_data(root)
        write_config(root / 'tiny.py', changed(CONFIG))
        self._checked(('train', '--config=tiny.py', '--workdir=work'))
        for name in ('b', 'c'):
            write_image(root / 'images' / f'{name}.png')
        rng = np.random.default_rng(0)
        # Smooth, so that the classes differ by place, and a wrong window would show.
        small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        large = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
        write_image(root / 'images' / 'a.png', large, compress_level=1)
        self._write_validation()
        self._checked(('predict', '--workdir=work', '--input=images', '--output=whole'))
        self._checked(('predict', '--workdir=work', '--input=images/a.png', '--output=windows',
                       WINDOWS))
        if self._mask('whole', 'a') == self._mask('windows', 'a'):
            raise SystemExit('both methods give one mask, so nothing can be told apart')

    def predict(self, limit: float | None, *, must_be_named: bool = False) -> Trial:
        """The folder under a limit in GiB."""
        output = f'limit{self._count}'
        self._count += 1
        status, out, error = self._run(
            ('predict', '--workdir=work', '--input=images', f'--output={output}'), limit)
        failures = [f'status {status}'] * (status != 0) + [error[-400:]] * bool(error)
        named = NAMED in out
        if named != (out.startswith('a: ') or '\na: ' in out):
            failures.append(f'another image is named: {out}')
        if named < must_be_named or named and limit is None:
            failures.append(f'named: {named}')
        expected = {'a': 'windows' if named else 'whole', 'b': 'whole', 'c': 'whole'}
        failures += [f'{name}: not the mask of {place}' for name, place in expected.items()
                     if not self._exists(output, name)
                     or self._mask(output, name) != self._mask(place, name)]
        shutil.rmtree(self._root / output, ignore_errors=True)
        return Trial('predict', f'{limit} GiB', 'windows' if named else 'one piece', failures)

    def evaluate(self, limit: float) -> Trial:
        """The same images with random truths; the score is that of the masks of `predict`."""
        status, out, error = self._run(
            ('evaluate', '--workdir=work', f'--config.data.root={self._root}/scored'), limit)
        failures = [f'status {status}'] * (status != 0) + [error[-400:]] * bool(error)
        files = list((self._root / 'work').glob('evaluation_*.json'))
        if len(files) != 1 or NAMED not in out:
            return Trial('evaluate', f'{limit} GiB', 'failed', [*failures, out, str(files)])
        result = json.loads(files[0].read_text())
        files[0].unlink()
        right = total = 0
        for name, place in (('a', 'windows'), ('b', 'whole'), ('c', 'whole')):
            truth = _pixels(self._root / f'scored/val/masks/{name}.png')
            found = _pixels(self._root / place / f'{name}.png')
            right, total = right + int((found == truth).sum()), total + truth.size
        failures += [f'windowed: {result["windowed"]}'] * (result['windowed'] != 1)
        if abs(result['pixel_accuracy'] - right / total) > 1e-9:
            failures.append(f'accuracy {result["pixel_accuracy"]}, of predict {right / total}')
        return Trial('evaluate', f'{limit} GiB', f'windowed {result["windowed"]}', failures)

    def train_too_much(self, limit: float) -> Trial:
        """A step that needs more than the limit."""
        status, _, error = self._run(
            ('train', '--config=tiny.py', '--workdir=new', '--config.batch_size=4',
             f'--config.data.root={self._root}/large', '--config.transforms=[]'), limit)
        failures = wrong_refusal(status, error, 'batch_size: a training step', 'GiB of memory',
                                 'are available')
        written = [path.name for path in (self._root / 'new').glob('*')]
        if written != ['train.lock']:
            failures.append(f'written: {written}')
        shutil.rmtree(self._root / 'new', ignore_errors=True)
        return Trial('train', f'a step that does not fit, {limit} GiB', f'status {status}',
                     failures)

    def validate(self, limit: float) -> Trial:
        """A training on small images that validates a large one."""
        status, out, error = self._run(
            ('train', '--config=tiny.py', '--workdir=validated',
             f'--config.data.root={self._root}/scored'), limit)
        failures = [f'status {status}'] * (status != 0) + unexpected_text(error)
        if len(error.splitlines()) != 1 or NAMED not in error or 'validation' not in out:
            failures.append(f'stderr: {error[-400:]}, stdout: {out[-400:]}')
        return Trial('train', f'validation in windows, {limit} GiB', f'status {status}', failures)

    def estimate(self, size: tuple[int, int], available: int) -> Trial:
        """Whether an image of this size would go through windows; it is only compiled."""
        run = open_workdir(self._root / 'work')
        step, variables = run.variables('best')
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables)
        image = jax.ShapeDtypeStruct((1, *size, 3), jnp.uint8)
        with mock.patch('jaxseg.inference.whole.available_bytes', lambda: available):
            found = run.parts.inference._program('predictions', shapes, image)
        (_, needed, _), = run.parts.inference._programs.values()
        feature_map = WIDTH * 4 * size[0] * size[1]  # float32, as wide as the encoder
        failures = [] if found is None else ['it would run in one piece']
        if not feature_map <= needed <= 8 * feature_map:
            failures.append(f'estimated {needed}, one map is {feature_map}')
        name = f'{size[0]}x{size[1]}, {available / GIB:g} GiB'
        return Trial('estimate', name, f'{needed / GIB:.1f} GiB', failures)

    def _write_validation(self):
        """`scored`: small training images, those to predict as val; `large`: large ones."""
        rng = np.random.default_rng(1)
        for place in ('scored', 'large'):
            shutil.copytree(self._root / 'data', self._root / place)
        shutil.rmtree(self._root / 'scored' / 'val')
        for path in sorted((self._root / 'images').iterdir()):
            mask = rng.integers(0, 3, _pixels(path).shape[:2], np.uint8)
            (self._root / 'scored/val/images').mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self._root / 'scored/val/images' / path.name)
            write_image(self._root / 'scored/val/masks' / path.name, mask, compress_level=1)
        for index in range(4):
            write_image(self._root / f'large/train/images/train{index}.png',
                        np.full((1000, 1500, 3), index, np.uint8))
            write_image(self._root / f'large/train/masks/train{index}.png',
                        np.zeros((1000, 1500), np.uint8))

    def _exists(self, place: str, name: str) -> bool:
        return (self._root / place / f'{name}.png').exists()

    def _mask(self, place: str, name: str) -> bytes:
        return (self._root / place / f'{name}.png').read_bytes()

    def _checked(self, arguments: Sequence[str]):
        status, out, error = self._run(arguments, None)
        if status or error or NAMED in out:
            raise SystemExit(f'{arguments} fails without a limit: {error or out}')

    def _run(self, arguments: Sequence[str], limit: float | None) -> tuple[int, str, str]:
        process = start(arguments, self._root, **self._environment)
        if limit is not None:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (int(limit * GIB),) * 2)
        out, error = process.communicate()
        return process.returncode, out, error


def _pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


if __name__ == '__main__':
    sys.exit(program('Images that are too large for the memory',
                     'experiments.reliability.large_images', __doc__, trials))
