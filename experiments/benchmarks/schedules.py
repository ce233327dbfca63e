"""Every schedule of the linear recurrence, forward and backward, for short to long sequences.

    python experiments/benchmarks/schedules.py [--repeats 7] [--csv PATH]

The schedules of one shape take turns, with a copy of an array of that shape among them. The
bandwidth counts the arrays that must be read or written (forward a, b and h; backward a, h and
three cotangents), not those that a schedule moves; `of_copy` is its share of the copy's. A star
marks the fastest schedule, brackets the one that 'auto' picks. Close everything else first.
"""

import functools
import itertools
import pathlib
import sys
import time

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402

from jaxseg.layers.linear_recurrence import SCHEDULES, _pick, linear_recurrence  # noqa: E402

LENGTHS = (32, 128, 512, 2048, 10800)
WIDTHS = ((1, 64), (8, 64), (8, 256), (64, 256))  # batch, channels
WORKS = {'forward': 3, 'forward + backward': 8}  # arrays that are read or written
COLUMNS = ('length', 'batch', 'channels', 'work', 'schedule', 'milliseconds', 'compile_seconds',
           'gigabytes_per_second', 'of_copy', 'fastest', 'picked')


def forward(schedule: str, a: jax.Array, b: jax.Array, cotangent: jax.Array) -> jax.Array:
    return linear_recurrence(a, b, schedule=schedule)[0]


def with_backward(schedule: str, a: jax.Array, b: jax.Array, cotangent: jax.Array) -> tuple:
    h, vjp_fn = jax.vjp(lambda a, b: linear_recurrence(a, b, schedule=schedule)[0], a, b)
    return h, vjp_fn(cotangent)


def compiled(function, *inputs) -> tuple:
    """A function of nothing that waits for its result, and the seconds that compiling it took."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*inputs).compile()
    return lambda: jax.block_until_ready(program(*inputs)), time.perf_counter() - start


def measure(length: int, batch: int, channels: int, work: str, repeats: int) -> list[dict]:
    """Rows of the table for one shape and work; prints them as one line."""
    names = [*SCHEDULES, *(['pallas'] if jax.default_backend() == 'gpu' else [])]
    keys = jax.random.split(jax.random.key(0), 3)
    b, cotangent = (jax.random.normal(key, (batch, length, channels)) for key in keys[:2])
    a = jax.random.uniform(keys[2], b.shape)
    function = forward if work == 'forward' else with_backward
    programs = {name: compiled(functools.partial(function, name), a, b, cotangent)
                for name in names}
    copy, _ = compiled(lambda x: x + 1, b)
    calls = {name: program for name, (program, _) in programs.items()}
    seconds = take_turns({'copy': copy, **calls}, repeats)
    copied = 2 * b.nbytes / seconds.pop('copy')
    fastest, picked = min(seconds, key=seconds.get), _pick()
    rows = []
    for name in names:
        bandwidth = WORKS[work] * b.nbytes / seconds[name]
        rows.append(dict(zip(COLUMNS, (
            length, batch, channels, work, name, round(1000 * seconds[name], 3),
            round(programs[name][1], 2), round(bandwidth / 1e9, 2), round(bandwidth / copied, 3),
            name == fastest, name == picked), strict=True)))
    cells = [f'[{row["schedule"]}]' if row['picked'] else row['schedule'] for row in rows]
    print(f'{length:6} x {batch * channels:5} {work:19}' + ''.join(
        f'{cell:>14} {row["milliseconds"]:9.3f}{"*" if row["fastest"] else " "} '
        f'({row["compile_seconds"]:4.1f} s, {row["of_copy"]:4.2f})'
        for cell, row in zip(cells, rows, strict=True))
        + f'  copy {copied / 1e9:.0f} GB/s, picked / fastest '
          f'{seconds[picked] / seconds[fastest]:.2f}', flush=True)
    return rows


def main():
    """Measures, prints, writes."""
    arguments = argument_parser(__doc__, repeats=7).parse_args()
    print(machine(), 'milliseconds (compile seconds, share of the bandwidth of a copy)', sep='\n',
          flush=True)
    # Only large arrays fill the memory of a GPU; a CPU would take minutes for them.
    largest = 2 ** 23 if jax.default_backend() == 'cpu' else 2 ** 26
    rows: list[dict] = []
    for (batch, channels), length, work in itertools.product(WIDTHS, LENGTHS, WORKS):
        if batch * channels * length <= largest:
            rows += measure(length, batch, channels, work, arguments.repeats)
            if arguments.csv:
                write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
