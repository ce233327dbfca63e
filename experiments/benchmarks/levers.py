"""What each of the ways in which `jaxseg.layers` is fast on CPU gives, alone and to the whole.

    python experiments/benchmarks/levers.py [--repeats 9] [--csv experiments/benchmarks/levers.csv]
        [--models NAME,NAME] [--levers NAME,NAME] [--variants none,only,but]

Forward and train step of networks of `step.py` at 4x256x256, and of the convolutional CamVid model
at the size of its training, on two cores: with all of them, with none, each alone, and all without
each. A lever that is off is XLA's own program for the same operation. The variants take
turns, one repetition each; figures are medians, and `ratio` is the time of all levers over that of
the row: below 1 the row is slower. Close everything else first.
"""

import contextlib
import pathlib
import sys
from collections.abc import Callable, Sequence
from unittest import mock

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import add_names, argument_parser, machine, take_turns, write  # noqa: E402
from step import NETWORKS, SQUARES, jax_works, model_of, random_batch  # noqa: E402

from jaxseg.layers import (  # noqa: E402
    conv,
    conv_gradients,
    cpu_conv,
    dense,
    depthwise,
    interpolation,
    pooling,
    upsample_conv,
)

TRAINED_AT = {**dict.fromkeys(NETWORKS, SQUARES), 'camvid_convolutional': (3, 352, 480)}
VARIANTS = ('none', 'only', 'but')
# What is replaced, and by what, where a lever is off.
LEVERS = {
    'upsampling as four phases': [(upsample_conv, 'on_many_devices', lambda: True)],
    'weight gradients as products': [(conv_gradients, '_products_are_faster',
                                      lambda strides, kernel: kernel.shape[:2] == (1, 1))],
    'input gradients of few positions as products': [(
        conv_gradients, '_positions_are_few', lambda *_: False)],
    'padding where there is none': [(module, 'cpu_conv', cpu_conv._conv_on_all_cores)
                                    for module in (conv, conv_gradients)],
    'weight gradients in blocks of rows': [(conv_gradients, 'BLOCK', 2 ** 62)],
    'weight gradients of odd batches in two': [(conv_gradients, '_is_odd', lambda _: False)],
    'weight gradients of few features': [(conv_gradients, '_features_are_few', lambda *_: False)],
    'pooling and its gradient by comparison': [(pooling, 'on_many_devices', lambda: True)],
    'images side by side': [(cpu_conv, 'cores', lambda: 1)],
    'colors in blocks of pixels': [(conv, 'folding_is_faster', lambda *_: False)],
    'gradients of enlargements without gathers': [(
        interpolation, '_integer_factor', lambda _: 0)],
    'weight gradients of linear layers': [(dense, 'platform', lambda: 'gpu')],
    'weight gradients of depthwise convolutions in one reduction': [(
        depthwise, '_kernel_gradient', depthwise._kernel_gradient_by_rows)],
}
COLUMNS = ('model', 'levers', 'work', 'milliseconds', 'ratio', 'compile_seconds', 'machine')


def variants(kinds: Sequence[str], levers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`{name: levers that are off}`: all of them are on, and these of `VARIANTS`."""
    found = {'all': ()}
    if 'none' in kinds:
        found['none'] = tuple(LEVERS)
    if 'only' in kinds:
        found |= {f'only {name}': tuple(other for other in LEVERS if other != name)
                  for name in levers}
    if 'but' in kinds:
        found |= {f'all but {name}': (name,) for name in levers}
    return found


def works_without(names: tuple[str, ...], model: dict, images: np.ndarray, labels: np.ndarray
                  ) -> dict[str, tuple[Callable, float, float]]:
    """The works of `step.py`, compiled without these levers."""
    jax.clear_caches()  # what is traced with a lever is not traced again
    with contextlib.ExitStack() as stack:
        for name in names:
            for place, attribute, value in LEVERS[name]:
                stack.enter_context(mock.patch.object(place, attribute, value))
        return jax_works(model, images, labels)


def measure(name: str, which: dict[str, tuple[str, ...]], repeats: int) -> list[dict]:
    """Rows of the table for one model and these `variants`."""
    model, shape = model_of(name)[0], TRAINED_AT[name]
    images, labels = random_batch(shape)
    works = {each: works_without(off, model, images, labels)
             for each, off in which.items()}
    rows = []
    for work in ('forward', 'train step'):
        medians = take_turns({each: found[work][0] for each, found in works.items()}, repeats)
        for each, seconds in medians.items():
            ratio = medians['all'] / seconds
            rows.append(dict(zip(COLUMNS, (
                name, each, work, round(1000 * seconds, 1), round(ratio, 3),
                round(works[each][work][1], 1), machine()), strict=True)))
            print(f'{name:22} {work:11} {each:52} {1000 * seconds:8.1f} ms  {ratio:.3f}',
                  flush=True)
    return rows


def main():
    """Measures, prints, writes."""
    parser = argument_parser(__doc__, repeats=9)
    for option, known in (('--models', tuple(TRAINED_AT)), ('--levers', tuple(LEVERS)),
                          ('--variants', VARIANTS)):
        add_names(parser, option, known)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    rows = []
    for name in arguments.models:
        rows += measure(name, variants(arguments.variants, arguments.levers), arguments.repeats)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
