"""Gradients of convolutions in a loop body, with the rule of `jaxseg.layers.conv` and XLA's own.

    python experiments/benchmarks/convolution_in_loop.py [--repeats 7]
        [--csv experiments/benchmarks/convolution_in_loop.csv]

Milliseconds of one turn of a `lax.scan`, and of the same work outside a loop: the gradient of the
input (dx), the gradient of the kernel (dw), and a ConvGRU forward and backward over a clip. The
variants take turns; figures are medians.
"""

import pathlib
import sys
from collections.abc import Callable
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, take_turns, write  # noqa: E402

from jaxseg.layers import conv  # noqa: E402
from jaxseg.layers.convolutional_cell import ConvGRU  # noqa: E402

TURNS = 2
# Shape of the input, features, side of the kernel, stride.
CONVOLUTIONS = (((2, 64, 64, 32), 32, 3, 1), ((4, 32, 32, 128), 128, 3, 1),
                ((4, 64, 64, 64), 128, 3, 2), ((4, 64, 64, 256), 64, 1, 1))
FRAMES, CLIP = 3, (2, 32, 32, 32)
COLUMNS = ('work', 'input', 'features', 'kernel', 'stride', 'place', 'gradients', 'milliseconds',
           'machine')


def xla_convolve(x, kernel, *, padding, strides=(1, 1), dilation=(1, 1), groups=1) -> jax.Array:
    """`convolve` with XLA's own gradients."""
    return lax.conv_general_dilated(
        x, kernel.astype(x.dtype), strides, padding, rhs_dilation=dilation,
        dimension_numbers=conv.LAYOUT, feature_group_count=groups)


VARIANTS = {'xla': xla_convolve, 'jaxseg': conv.convolve}


def gradient_works(shape: tuple, features: int, side: int, stride: int
                   ) -> dict[tuple, tuple[Callable, int]]:
    """`{(work, place, gradients): (function of nothing, turns)}`."""
    keys, margin = jax.random.split(jax.random.key(0), 3), (side - 1) // 2
    options = dict(padding=((margin, margin),) * 2, strides=(stride, stride))
    x = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (side, side, shape[3], features))
    out = jax.eval_shape(lambda x, kernel: xla_convolve(x, kernel, **options), x, kernel)
    cotangent = jax.random.normal(keys[2], out.shape)
    works = {}
    for name, convolve in VARIANTS.items():
        for argument, work in enumerate(('dx', 'dw')):
            def gradient(x, kernel, cotangent, convolve=convolve, argument=argument):
                _, vjp_fn = jax.vjp(lambda *both: convolve(*both, **options), x, kernel)
                return vjp_fn(cotangent)[argument]

            def loop(x, kernel, cotangent, gradient=gradient, argument=argument):
                def turn(total, _):
                    # The work depends on the total and cannot be moved out of the loop.
                    arrays = (array + total.mean() for array in (x, kernel, cotangent))
                    return total + gradient(*arrays), None

                return lax.scan(turn, jnp.zeros((x, kernel)[argument].shape), None, length=TURNS)[0]

            works[work, 'alone', name] = compiled(gradient, x, kernel, cotangent), 1
            works[work, 'loop', name] = compiled(loop, x, kernel, cotangent), TURNS
    return works


def clip_works(frames: int, shape: tuple) -> dict[tuple, tuple[Callable, int]]:
    """A ConvGRU over a clip, forward and backward."""
    cell = nn.scan(ConvGRU, variable_broadcast='params', split_rngs={'params': False}, in_axes=1,
                   out_axes=1)(shape[3])
    clip = jax.random.normal(jax.random.key(0), (shape[0], frames, *shape[1:]))
    state = cell.zero_state(shape)
    params = cell.init(jax.random.key(1), state, clip)

    def loss(params, clip):
        return jnp.sum(cell.apply(params, state, clip)[1] ** 2)

    works = {}
    for name, convolve in VARIANTS.items():
        with mock.patch.object(conv, 'convolve', convolve):
            works['ConvGRU', 'loop', name] = compiled(jax.grad(loss, (0, 1)), params, clip), frames
    return works


def compiled(function: Callable, *arguments) -> Callable:
    """The function of nothing that runs the compiled function to its end."""
    # A new function for every variant: JAX would reuse the trace of one it has seen.
    run = jax.jit(lambda *arguments: function(*arguments)).lower(*arguments).compile()
    return lambda: jax.block_until_ready(run(*arguments))


def main():
    """Measures, prints, writes."""
    arguments = argument_parser(__doc__, repeats=7).parse_args()
    here, rows = machine(), []
    print(here, flush=True)
    jobs = [(gradient_works, case, case) for case in CONVOLUTIONS]
    jobs.append((clip_works, (FRAMES, CLIP), (CLIP, CLIP[3], 3, 1)))
    for make, case, (shape, *options) in jobs:
        works = make(*case)
        functions = {key: function for key, (function, _) in works.items()}
        medians = take_turns(functions, arguments.repeats, warm=1)
        for (work, place, name), seconds in medians.items():
            milliseconds = round(1000 * seconds / works[work, place, name][1], 2)
            values = work, 'x'.join(map(str, shape)), *options, place, name, milliseconds, here
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            print(*values[:-1], flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
