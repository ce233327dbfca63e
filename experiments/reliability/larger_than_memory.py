"""Pictures that are predicted from disk to disk: peak memory, speed, and equality with one piece.

    python -m experiments.reliability.larger_than_memory [--short]
        [--table=experiments/results/larger_than_memory.md]

A picture of random blocks is written row by row, as `.npy` and as tiled TIFF, and predicted by
`jaxseg predict` with exact tiles and with sliding windows. One of 2,000 x 2,000 pixels must have
the mask of the same picture as PNG: of the whole image for exact tiles, of windows for windows. One
of 20,000 x 20,000, 1.2 GB (not with `--short`), must take less than 2 GiB of memory.
"""

import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import tifffile
from PIL import Image

from experiments.reliability.cases import changed, write_config, write_image
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import Trial, finish, program, unexpected_text

SIDE, LARGE_SIDE, LIMIT = 2000, 20_000, 2.0  # pixels, pixels, GiB
TILE, BLOCK = 512, 32  # pixels
CONFIG = {
    'model.encoder': {'type': 'vgg_like.VGGLike', 'widths': [16, 32], 'depth': 1, 'stem_stride': 4},
    'model.decoder': {'type': 'unet.UNet', 'widths': [32, 16]}}
METHODS = {'exact.Exact': 'whole.Whole', 'sliding.SlidingWindow': 'sliding.SlidingWindow'}


def trials(short: bool) -> Iterator[Trial]:
    """Both methods and both formats on the small picture, exact tiles on the large one."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        environment = quick(root / 'cache')
        write_config(root / 'tiny.py', changed(CONFIG))
        _checked(('train', '--config=tiny.py', '--workdir=work'), root, environment)
        write_image(root / 'a.png', np.concatenate(list(strips(SIDE))), compress_level=1)
        for method, in_memory in METHODS.items():
            output = f'{method}_png'
            _checked(_predict('a.png', output, in_memory)[:-1], root, environment)
            with Image.open(root / output / 'a.png') as image:
                expected = np.asarray(image)  # the indices of a palette
            for name in ('a.npy', 'a.tif'):
                write(root / name, SIDE)
                yield _trial(name, method, SIDE, root, environment, expected)
        if not short:
            write(root / 'a.npy', LARGE_SIDE)
            yield _trial('a.npy', 'exact.Exact', LARGE_SIDE, root, environment)


def _trial(name: str, method: str, side: int, root: pathlib.Path, environment: dict,
           expected: np.ndarray | None = None) -> Trial:
    status, out, error = finish(_predict(name, 'output', method), root, **environment)
    failures = [f'status {status}: {error}'] * bool(status) + unexpected_text(error)
    figures = re.search(r'in ([\d.]+) s, ([\d.]+) megapixels/s, peak memory ([\d.]+) GiB', out)
    outcome = figures[0] if figures else 'no figures'
    if not figures or float(figures[3]) > LIMIT:
        failures.append(f'{out} does not state at most {LIMIT} GiB')
    mask = root / 'output' / name
    if not failures:
        found = np.load(mask, 'r') if mask.suffix == '.npy' else tifffile.imread(mask)
        if found.shape != (side, side):
            failures.append(f'a mask of {found.shape}')
        elif expected is not None and not np.array_equal(found, expected):
            failures.append(f'{(found != expected).mean():.2%} of the mask differ')
    return Trial(f'{method}, {name}, {side}x{side}', method, outcome, failures)


def strips(side: int) -> Iterator[np.ndarray]:
    """A picture of random blocks, some rows at a time."""
    rng = np.random.default_rng(0)
    for top in range(0, side, TILE):
        blocks = rng.integers(0, 256, (TILE // BLOCK, -(-side // BLOCK), 3), np.uint8)
        yield blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[:side - top, :side]


def write(path: pathlib.Path, side: int):
    """The picture as `.npy` or tiled TIFF."""
    if path.suffix == '.npy':
        header = {'descr': '|u1', 'fortran_order': False, 'shape': (side, side, 3)}
        with path.open('wb') as file:
            np.lib.format.write_array_header_1_0(file, header)
            for strip in strips(side):
                file.write(np.ascontiguousarray(strip).data)
        return
    tifffile.imwrite(path, np.concatenate(list(strips(side))), photometric='rgb',
                     tile=(TILE, TILE), compression='deflate')


def _predict(name: str, output: str, method: str) -> tuple[str, ...]:
    return ('predict', '--workdir=work', f'--input={name}', f'--output={output}',
            f'--config.inference.type={method}', '--config.eval_batch_size=1', '--from_disk')


def _checked(arguments: tuple[str, ...], root: pathlib.Path, environment: dict):
    status, out, error = finish(arguments, root, **environment)
    if status:
        raise SystemExit(f'{arguments} fails: {error or out}')


if __name__ == '__main__':
    sys.exit(program('Pictures that are predicted from disk to disk',
                     'experiments.reliability.larger_than_memory', __doc__, trials))
