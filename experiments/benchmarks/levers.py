"""What each of the ways in which `jaxseg.layers` is fast on CPU gives, alone and to the whole.

    python experiments/benchmarks/levers.py [--repeats 9] [--csv experiments/benchmarks/levers.csv]

Forward and train step of the ResNet-18 U-Net of `step.py` at 4x256x256 on two cores: with all of
them, with none, each alone, and all without each. A lever that is off is XLA's own program for the
same operation. The variants take turns, one repetition each; figures are medians, and `ratio` is
the time of all levers over that of the row: below 1 the row is slower. Close everything else first.
"""

import contextlib
import pathlib
import sys
from collections.abc import Callable
from unittest import mock

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402
from step import CLASSES, UNET, jax_works  # noqa: E402

from jaxseg.layers import conv, pooling, upsample_conv  # noqa: E402

SHAPE = 4, 256, 256
# What is replaced, and by what, where a lever is off.
LEVERS = {
    'upsampling as four phases': [(upsample_conv, 'on_many_devices', lambda: True)],
    'weight gradients as products': [(
        conv, '_products_are_faster', lambda strides, kernel: kernel.shape[:2] == (1, 1))],
    'padding where there is none': [(conv, '_padded_conv', conv._conv)],
    'weight gradients in blocks of rows': [(conv, 'BLOCK', 2 ** 62)],
    'gradient of pooling by comparison': [(pooling, 'on_many_devices', lambda: True)],
}
COLUMNS = ('levers', 'work', 'milliseconds', 'ratio', 'compile_seconds', 'machine')


def variants() -> dict[str, tuple[str, ...]]:
    """`{name: levers that are off}`; of two levers each alone is the whole without the other."""
    found = {'all': (), 'none': tuple(LEVERS)}
    found |= {f'only {name}': tuple(other for other in LEVERS if other != name) for name in LEVERS}
    if len(LEVERS) > 2:
        found |= {f'all but {name}': (name,) for name in LEVERS}
    return found


def works_without(names: tuple[str, ...], images: np.ndarray, labels: np.ndarray
                  ) -> dict[str, tuple[Callable, float, float]]:
    """The works of `step.py`, compiled without these levers."""
    jax.clear_caches()  # what is traced with a lever is not traced again
    with contextlib.ExitStack() as stack:
        for name in names:
            for place, attribute, value in LEVERS[name]:
                stack.enter_context(mock.patch.object(place, attribute, value))
        return jax_works(UNET, images, labels)


def main():
    """Measures, prints, writes."""
    arguments = argument_parser(__doc__, repeats=9).parse_args()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(*SHAPE, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.int32)
    print(machine(), flush=True)
    works = {name: works_without(off, images, labels) for name, off in variants().items()}
    rows = []
    for work in ('forward', 'train step'):
        medians = take_turns({name: found[work][0] for name, found in works.items()},
                             arguments.repeats)
        for name, seconds in medians.items():
            rows.append(dict(zip(COLUMNS, (
                name, work, round(1000 * seconds, 1), round(medians['all'] / seconds, 3),
                round(works[name][work][1], 1), machine()), strict=True)))
            print(f'{work:11} {name:40} {1000 * seconds:8.1f} ms  {medians["all"] / seconds:.3f}',
                  flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
