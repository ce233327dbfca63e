"""The GPU kernel of the linear recurrence: interpreted on the CPU, and lowered for CUDA."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from jaxseg.errors import InputError
from jaxseg.layers import linear_recurrence_kernel
from jaxseg.layers.linear_recurrence import linear_recurrence
from jaxseg.layers.linear_recurrence_kernel import BLOCK, STEPS, _masked, pallas_recurrence
from jaxseg.layers.recurrence import Recurrence
from tests.references import recurrence
from tests.variables import random, random_variables

in_python = functools.partial(pallas_recurrence, interpret=True)


def decays(*shape: int) -> np.ndarray:
    """Between 0 and 1, and some of them exactly 0 or 1."""
    return np.clip(np.random.default_rng(7).uniform(-0.2, 1.2, shape), 0, 1).astype(np.float32)


def interpreted(a, b, start, reverse):
    return jnp.swapaxes(in_python(*(jnp.swapaxes(x, 0, 1) for x in (a, b)), start, reverse), 0, 1)


def sequential(a, b, start, reverse):
    return linear_recurrence(a, b, start, schedule='sequential', reverse=reverse)[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def with_gradient(recur, reverse, a, b, start, cotangent):
    """h, and the gradients of `sum(h * cotangent)` to decays, inputs and start."""
    h, vjp_fn = jax.vjp(lambda *parts: recur(*parts, reverse), a, b, start)
    return h, *vjp_fn(cotangent)


@pytest.mark.parametrize('reverse, expected', [
    # From the end: 1000, 100 + 2 1000, 10 + 1 2100, 1 + 0 2110; times the state before: 5, 2, 5, 8.
    (False, ([5, 2, 5, 14], [8, 10550, 4200, 5000], [1, 2110, 2100, 1000], [0.5])),
    # From the beginning: 1, 10 + 0.5 1, 100 + 0 10.5, 1000 + 1 100;
    # times the state after: 2, 23, 20, 8.
    (True, ([2, 2, 23, 20], [2, 241.5, 2000, 8800], [1, 10.5, 100, 1100], [2200]))])
def test_four_steps_by_hand(reverse, expected):
    a, b, cotangent = (np.float32(part).reshape(1, 4, 1)
                   for part in ([0.5, 0, 1, 2], [1, 2, 3, 4], [1, 10, 100, 1000]))
    found = with_gradient(interpreted, reverse, a, b, np.float32([[8]]), cotangent)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.ravel(), other)


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('length, width, steps',
                         [(1, 33, 4), (7, 1, 4), (4, 32, 4), (5, 31, 4), (130, 200, 8)])
def test_the_kernel_equals_the_sequential_schedule_forward_and_backward(length, width, steps,
                                                                        reverse, monkeypatch):
    # XLA on CPU takes seconds for many steps without a loop.
    monkeypatch.setattr(linear_recurrence_kernel, 'STEPS', steps)
    inputs = (decays(2, length, width), random(2, length, width), random(2, width, seed=1),
              random(2, length, width, seed=2))
    found, expected = (with_gradient(recur, reverse, *inputs)
                       for recur in (interpreted, sequential))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == jnp.float32 and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    if not reverse:
        np.testing.assert_allclose(found[0], recurrence.linear(*inputs[:3]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('reverse', [False, True])
def test_decays_of_zero_and_one_are_exact_forward_and_backward(reverse, monkeypatch):
    monkeypatch.setattr(linear_recurrence_kernel, 'STEPS', 4)
    b, start = random(2, 50, 3), random(2, 3, seed=1)
    cotangent = np.round(8 * random(2, 50, 3, seed=2))
    ones, zeros = np.ones_like(b), np.zeros_like(b)
    h, da, db, d_start = with_gradient(interpreted, reverse, ones, zeros, start, cotangent)
    np.testing.assert_array_equal(h, np.repeat(start[:, None], 50, 1))
    # Whole numbers: their sums are exact.
    sums = cotangent.cumsum(1) if reverse else cotangent[:, ::-1].cumsum(1)[:, ::-1]
    np.testing.assert_array_equal(db, sums)
    np.testing.assert_array_equal(da, sums * start[:, None])
    np.testing.assert_array_equal(d_start, cotangent.sum(1))
    h, da, db, d_start = with_gradient(interpreted, reverse, zeros, b, start, cotangent)
    np.testing.assert_array_equal(h, b)
    before = [b[:, 1:], start[:, None]] if reverse else [start[:, None], b[:, :-1]]
    np.testing.assert_array_equal(da, cotangent * np.concatenate(before, 1))
    np.testing.assert_array_equal(db, cotangent)
    assert not np.any(d_start)


def test_no_channel_beyond_the_last_is_read_or_written():
    # The interpreter forgives it, a GPU would write into the next position.
    x, start = (jax.ShapeDtypeStruct((2, 40, 33), jnp.float32),
                jax.ShapeDtypeStruct((2, 33), jnp.float32))
    trace = jax.make_jaxpr(with_gradient, static_argnums=(0, 1))
    program = str(trace(interpreted, False, x, x, start, x))
    accesses = [line for line in program.splitlines() if ' <- ' in line]
    assert len(accesses) > 2 * STEPS and all('mask=' in line for line in accesses)

    def mark(zeros, out):
        out[...] = zeros[...]
        _masked(33)[1](out, 0, jnp.ones((1, BLOCK)))

    block = pl.BlockSpec((1, BLOCK), lambda channels: (0, channels))
    marks = pl.pallas_call(mark, jax.ShapeDtypeStruct((1, 2 * BLOCK), jnp.float32), grid=(2,),
                           in_specs=[block],
                           out_specs=block, interpret=True)(jnp.zeros((1, 2 * BLOCK)))
    np.testing.assert_array_equal(marks[0], [1] * 33 + [0] * (2 * BLOCK - 33))


@pytest.mark.parametrize('cell, reverse', [('mingru', True), ('s6', False)])
def test_a_cell_that_asks_for_the_kernel_computes_what_it_did(cell, reverse, monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    monkeypatch.setattr(linear_recurrence_kernel, 'pallas_recurrence', in_python)
    x, layer = random(2, 5, 4), Recurrence(4, cell, reverse)
    params = random_variables(layer, x)['params']

    def run(schedule, params, x):
        apply = layer.clone(schedule=schedule).apply
        (y, state), vjp_fn = jax.vjp(lambda params, x: apply({'params': params}, x), params, x)
        return y, state, vjp_fn((jnp.cos(y), jnp.sin(state)))

    program = jax.jit(run, static_argnums=0).trace('pallas', params, x)
    assert 'pallas_call' in str(program.jaxpr)
    found, expected = (program.lower().compile()(params, x),
                       jax.jit(run, static_argnums=0)('sequential', params, x))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), found,
                 expected)


# JAX 0.11 and later say so whenever Triton is asked for.
@pytest.mark.filterwarnings('ignore:The Pallas Triton backend is deprecated')
@pytest.mark.parametrize('reverse', [False, True])
def test_on_a_gpu_the_gradient_is_two_triton_kernels_and_no_copies(reverse, monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    x, start = (jax.ShapeDtypeStruct((130, 2, 33), jnp.float32),
                jax.ShapeDtypeStruct((2, 33), jnp.float32))

    def run(a, b, start, cotangent):
        h, vjp_fn = jax.vjp(lambda *parts: linear_recurrence(
            *parts, schedule='pallas', reverse=reverse, axis=0)[0], a, b, start)
        return h, *vjp_fn(cotangent)

    gpu = AbstractMesh((), (), abstract_device=AbstractDevice('NVIDIA A100', None, 'gpu'))
    with use_abstract_mesh(gpu):
        text = jax.jit(run).trace(x, x, start, x).lower(lowering_platforms=('cuda',)).as_text()
    calls = [name.split('.')[-1] for name in re.findall(r'custom_call @(\S+?)\(', text)]
    assert calls == ['triton', 'triton']
    for copying in ('reverse', 'concatenate', 'pad', 'transpose', 'while'):
        assert f'stablehlo.{copying}' not in text


def test_what_the_kernel_cannot_do_is_refused(monkeypatch):
    x = jnp.ones((1, 2, 3))
    with pytest.raises(InputError, match="'pallas' needs a GPU.*cpu"):
        linear_recurrence(x, x, schedule='pallas')
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    for a, b in ((x * 1j, x), (x, x * 1j)):
        with pytest.raises(InputError, match="'pallas' is for real numbers"):
            linear_recurrence(a, b, schedule='pallas')
    with pytest.raises(InputError, match='known: auto, .*, pallas'):
        linear_recurrence(x, x, schedule='triton')


def test_auto_does_not_pick_what_was_never_measured(monkeypatch):
    for backend in ('cpu', 'gpu'):
        monkeypatch.setattr(jax, 'default_backend', lambda backend=backend: backend)
        for length in (2, 2000):
            shape = jax.ShapeDtypeStruct((1, length, 4), jnp.float32)
            program = jax.make_jaxpr(lambda a, b: linear_recurrence(a, b))(shape, shape)
            assert 'pallas' not in str(program)
