"""Bilinear resizing by two taps an axis, and as the matrix products of `jax.image`.

    python experiments/benchmarks/resize.py [--repeats 7]
        [--csv experiments/benchmarks/resize.csv]

Forward and gradient of logits brought to image size. The variants take turns; figures are medians,
operations and temporary memory from XLA's analysis of the compiled function.
"""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402

from jaxseg.layers.resize import resize_bilinear  # noqa: E402

# Shape of the logits, size of the images.
CASES = (((4, 180, 240, 11), (360, 480)), ((4, 90, 120, 11), (360, 480)),
         ((4, 128, 171, 11), (360, 480)), ((1, 256, 512, 19), (1024, 2048)))
COLUMNS = ('input', 'size', 'work', 'variant', 'gflop', 'temporary_mib', 'milliseconds', 'machine')


def matrix_products(x: jax.Array, size: tuple[int, int], scale: tuple[float, float]) -> jax.Array:
    """The same values by `jax.image`."""
    return jax.image.scale_and_translate(
        x, (x.shape[0], *size, x.shape[3]), (1, 2), jnp.array(scale), jnp.zeros(2), 'bilinear',
        antialias=False)


def measure(shape: tuple, size: tuple[int, int], repeats: int) -> list[tuple]:
    """One row for every work and variant, without the machine."""
    x = jax.random.normal(jax.random.key(0), shape)
    cotangent = jax.random.normal(jax.random.key(1), (shape[0], *size, shape[3]))
    scale = tuple(new / old for new, old in zip(size, shape[1:3], strict=True))
    compiled, runs = {}, {}
    for name, resize in (('taps', resize_bilinear), ('matrix products', matrix_products)):
        forward = functools.partial(resize, size=size, scale=scale)

        def gradient(cotangent, forward=forward):
            return jax.vjp(forward, jnp.zeros(shape))[1](cotangent)[0]

        works = ('forward', forward, x), ('gradient', gradient, cotangent)
        for work, function, argument in works:
            found = jax.jit(function).lower(argument).compile()
            compiled[work, name] = found
            runs[work, name] = functools.partial(
                lambda run, argument: jax.block_until_ready(run(argument)), found, argument)
    medians = take_turns(runs, repeats, warm=1)
    return [('x'.join(map(str, shape)), 'x'.join(map(str, size)), *key,
             round(found.cost_analysis()['flops'] / 1e9, 3),
             round(found.memory_analysis().temp_size_in_bytes / 2 ** 20),
             round(1000 * medians[key], 1)) for key, found in compiled.items()]


def main():
    """Measures, prints, writes."""
    arguments = argument_parser(__doc__, repeats=7).parse_args()
    here, rows = machine(), []
    print(here, flush=True)
    for shape, size in CASES:
        for values in measure(shape, size, arguments.repeats):
            rows.append(dict(zip(COLUMNS, (*values, here), strict=True)))
            print(*values, flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
