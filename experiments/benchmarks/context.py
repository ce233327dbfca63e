"""Time and memory of every context layer by size of the feature map, beside PyTorch if installed.

    python experiments/benchmarks/context.py [--csv experiments/benchmarks/context.csv]
        [--plot experiments/benchmarks/context.png] [--layers NAME,NAME]
        [--dtypes float32,bfloat16] [--limit 90]

One map of 128 channels at 32x32, 45x60, 90x120 and 180x240: forward, forward and backward
(gradients of the mean square by parameters and input), compile time, and the temporary memory that
XLA's `memory_analysis` gives. Figures are medians. A size is left out, with a message, if a layer
of quadratic cost would take longer than the limit or more than 12 GiB. With PyTorch, `nn.GRU` and
`nn.LSTM` compute the ReNet layers and the four GRUs, and `scaled_dot_product_attention` computes
`attend`, in turns with jaxseg; `attend_dense` is the same with all scores at once. The last lines
are the exponents of time and memory over the number of positions, from 45x60 to 180x240, and the
ratios in the README. Close everything else first.
"""

import argparse
import dataclasses
import functools
import importlib.util
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[2])]

from measure import machine, take_turns, write  # noqa: E402

from experiments.contexts import FAMILIES, contexts  # noqa: E402
from jaxseg.build import build  # noqa: E402
from jaxseg.layers.attention import attend  # noqa: E402

CHANNELS, HEADS = 128, 4
SIZES = ((32, 32), (45, 60), (90, 120), (180, 240))
WORKS = ('forward', 'forward+backward')
MOST_MIB = 12 * 1024
COLUMNS = ('context', 'library', 'dtype', 'height', 'width', 'work', 'milliseconds',
           'compile_seconds', 'temporary_mib')
Work = tuple[Callable, float, float]


@dataclasses.dataclass(frozen=True)
class Attend:
    """Dot-product attention alone, without projections: what PyTorch's function does."""

    method: str

    def init(self, key, x, *, train):
        return {}

    def apply(self, variables, x, *, train):
        tokens = x.reshape(1, -1, HEADS, CHANNELS // HEADS)
        return attend(tokens, tokens, tokens, method=self.method).reshape(x.shape)


def our_works(layer, x: jax.Array) -> dict[str, Work]:
    """`{work: (function of nothing, compile seconds, temporary MiB)}`."""
    variables = jax.jit(functools.partial(layer.init, train=False))(jax.random.key(0), x[:, :8, :8])
    functions = {
        'forward': lambda variables, x: layer.apply(variables, x, train=False),
        'forward+backward': jax.grad(lambda variables, x: jnp.mean(jnp.square(
            layer.apply(variables, x, train=False).astype(jnp.float32))), (0, 1)),
    }
    found = {}
    for work, function in functions.items():
        start = time.perf_counter()
        compiled = jax.jit(function).lower(variables, x).compile()
        seconds = time.perf_counter() - start
        mib = compiled.memory_analysis().temp_size_in_bytes / 2 ** 20
        call = functools.partial(lambda run: jax.block_until_ready(run(variables, x)), compiled)
        found[work] = call, seconds, mib
    return found


def torch_works(name: str, x: np.ndarray) -> dict[str, Callable]:
    """The same work in PyTorch, for the layers that it has; else empty."""
    if importlib.util.find_spec('torch') is None:
        return {}
    from torch_context import works

    return works(name, x, heads=HEADS)


def measure(name: str, layer, size: tuple[int, int], dtype: str) -> list[dict]:
    """Rows of the table for one layer at one size."""
    pixels = np.random.default_rng(0).normal(size=(1, *size, CHANNELS)).astype(np.float32)
    ours, rows = our_works(layer, jnp.asarray(pixels, dtype)), []
    theirs = torch_works(name, pixels) if dtype == 'float32' else {}
    for work, (function, compile_seconds, memory) in ours.items():
        first = take_turns({'jaxseg': function}, 1, warm=1)['jaxseg']
        repeats = max(1, min(11, int(1.0 / first)))
        functions = {'jaxseg': function} | ({'torch': theirs[work]} if theirs else {})
        medians = {'jaxseg': first}
        if first < 5 or theirs:
            medians = take_turns(functions, repeats, warm=1)
        for library, seconds in medians.items():
            own = library == 'jaxseg'
            rows.append(dict(zip(COLUMNS, (
                name, library, dtype, *size, work, round(1000 * seconds, 2),
                round(compile_seconds, 2) if own else '', round(memory, 2) if own else ''),
                strict=True)))
        ratio = f'  jaxseg / torch: {medians["jaxseg"] / medians["torch"]:.2f}' if theirs else ''
        print(f'{name:24} {dtype:9} {size[0]:3}x{size[1]:<3} {work:17} '
              f'{1000 * medians["jaxseg"]:9.1f} ms  compile {compile_seconds:5.1f} s  '
              f'temporary {memory:8.1f} MiB{ratio}', flush=True)
    return rows


def measure_layer(name: str, layer, dtype: str, limit: float) -> list[dict]:
    """All sizes of one layer."""
    rows: list[dict] = []
    for index, size in enumerate(SIZES):
        if rows:
            growth = (np.prod(size) / np.prod(SIZES[index - 1])) ** 2
            before = [row for row in rows
                      if row['height'] == SIZES[index - 1][0] and row['library'] == 'jaxseg']
            seconds, mib = (growth * max(row[column] for row in before)
                            for column in ('milliseconds', 'temporary_mib'))
            if seconds > 1000 * limit or mib > MOST_MIB:
                print(f'{name:24} {dtype:9} {size[0]:3}x{size[1]:<3} left out: '
                      f'perhaps {seconds / 1000:.0f} s, {mib:.0f} MiB', flush=True)
                break
        rows += measure(name, layer, size, dtype)
    return rows


def exponents(rows: list[dict]) -> dict[tuple[str, str], tuple[float, float]]:
    """`{(layer, library): (of time, of memory)}` over H*W from 45x60 on, forward and backward."""
    found = {}
    chosen = [row for row in rows
              if row['work'] == WORKS[1] and row['dtype'] == 'float32' and int(row['height']) >= 45]
    for key in dict.fromkeys((row['context'], row['library']) for row in chosen):
        points = [row for row in chosen if (row['context'], row['library']) == key]
        if len(points) < 2:
            continue
        area = np.log([int(row['height']) * int(row['width']) for row in points])
        values = [[float(row[column] or 'nan') for row in points]
                  for column in ('milliseconds', 'temporary_mib')]
        found[key] = tuple(float(np.polyfit(area, np.log(np.maximum(value, 1e-9)), 1)[0])
                           for value in values)
    return found


def ratios(rows: list[dict]) -> dict[str, float]:
    """The ratios in the README, of forward and backward at 90x120 in float32, where measured."""
    cells = {(row['context'], row['library'], column): row[column] for row in rows
             for column in ('milliseconds', 'temporary_mib')
             if row['work'] == WORKS[1] and row['dtype'] == 'float32' and int(row['height']) == 90}

    def ours(name, column='milliseconds'):
        return name, 'jaxseg', column

    def theirs(name):
        return name, 'torch', 'milliseconds'

    wanted = {
        'time of four GRUs / four minGRUs': (ours('four_way_rnn_gru'), ours('four_way_rnn_mingru')),
        'time of four GRUs / four RG-LRUs': (ours('four_way_rnn_gru'), ours('four_way_rnn_rglru')),
        'time of four GRUs, torch / four minGRUs': (theirs('four_way_rnn_gru'),
                                                    ours('four_way_rnn_mingru')),
        'time of four GRUs, jaxseg / torch': (ours('four_way_rnn_gru'), theirs('four_way_rnn_gru')),
        'time of ReNet GRU, jaxseg / torch': (ours('renet_gru'), theirs('renet_gru')),
        'time of ReNet LSTM, jaxseg / torch': (ours('renet_lstm'), theirs('renet_lstm')),
        'time of attention, jaxseg / torch': (ours('attend'), theirs('attend')),
        'memory of attention by chunks / dense': (ours('attend', 'temporary_mib'),
                                                  ours('attend_dense', 'temporary_mib')),
    }
    return {text: float(cells[one]) / float(cells[other]) for text, (one, other) in wanted.items()
            if one in cells and other in cells}


def draw(rows: list[dict], path: pathlib.Path):
    """Time and memory over the number of positions, both logarithmic, one line a layer."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    families = {name: family for name, (family, _) in contexts(CHANNELS).items()}
    maps = {'none': 'Greys', 'recurrent': 'Blues', 'attention': 'Reds', 'convolutional': 'Greens'}
    figure = Figure(figsize=(12, 6), layout='constrained')
    axes = figure.subplots(1, 2)
    for family in FAMILIES[1:]:
        names = [name for name in families
                 if families[name] == family and any(row['context'] == name for row in rows)]
        for index, name in enumerate(names):
            wanted = dict(context=name, library='jaxseg', work=WORKS[1], dtype='float32')
            points = [row for row in rows if wanted.items() <= row.items()]
            area = [int(row['height']) * int(row['width']) for row in points]
            shade = colormaps[maps[family]](0.4 + 0.55 * index / max(1, len(names) - 1))
            for axis, column in zip(axes, ('milliseconds', 'temporary_mib'), strict=True):
                axis.loglog(area, [float(row[column]) for row in points],
                            marker='.o^svD'[index % 6], color=shade, label=name)
    for axis, title in zip(axes, ('forward + backward, ms', 'temporary memory, MiB'), strict=True):
        axis.set(xlabel='positions (height x width), 128 channels, float32', title=title)
        axis.grid(alpha=0.3, which='both')
    axes[1].legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def main():
    """Measures, prints, writes, draws."""
    entries = {name: entry for name, (family, entry) in contexts(CHANNELS).items()
               if family != 'none'}
    attends = {'attend': Attend('auto'), 'attend_dense': Attend('dense')}
    known = (*entries, *attends)
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--csv', type=pathlib.Path)
    parser.add_argument('--plot', type=pathlib.Path)
    parser.add_argument('--layers', default=','.join(known),
                        help='names with commas between them (default: all)')
    parser.add_argument('--dtypes', default='float32,bfloat16')
    parser.add_argument('--limit', type=float, default=90,
                        help='seconds that one call may take (default: %(default)s)')
    arguments = parser.parse_args()
    if unknown := set(arguments.layers.split(',')) - set(known):
        parser.error(f'--layers: {", ".join(sorted(unknown))} is not known; '
                     f'known: {", ".join(known)}')
    # In a model the number of classes flows from the data set.
    given = {'ocr': {'classes': 11}}
    layers = {**attends, **{name: build('context', entry, **given.get(name, {}))
                            for name, entry in entries.items()}}
    layers = {name: layers[name] for name in arguments.layers.split(',')}
    print(machine(), flush=True)
    rows: list[dict] = []
    for dtype in arguments.dtypes.split(','):
        for name, layer in layers.items():
            rows += measure_layer(name, layer, dtype, arguments.limit)
            if arguments.csv:
                write(arguments.csv, rows, COLUMNS)
    print('exponents over the positions, 45x60 to 180x240, forward+backward, '
          'float32 (time, memory):')
    for (name, library), (of_time, of_memory) in exponents(rows).items():
        print(f'{name:24} {library:7} {of_time:5.2f} {of_memory:5.2f}')
    for text, ratio in ratios(rows).items():
        print(f'{text}: {ratio:.2f}')
    if arguments.plot:
        draw(rows, arguments.plot)


if __name__ == '__main__':
    main()
