"""Recurrences that are linear in their state: minGRU, minLSTM, RG-LRU, S6 and LRU.

Each is a function `(param, x, features, state, valid, recur) -> (y, state)` with time first,
x (L, B, C) -> y (L, B, features): `param(name, init, shape)` declares a parameter,
`recur(a, b, state)` is `linear_recurrence` with schedule and direction bound. Gates, decays and
states are float32 for any dtype of `x`. A position that is not valid has decay 1 and input 0: the
state does not change.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.layers.chrono_bias_init import chrono_bias_init
from jaxseg.layers.dense import matmul_f32

S6_STATES = 16  # per channel, as in Mamba
S6_CHUNK = 16  # steps whose states are held at once
RG_LRU_POWER = 8.0
RING = (0.9, 0.999)  # decays at the start, RG-LRU and LRU


def dense(param: Callable, name: str, x: jax.Array, features: int,
          bias: Callable | None = nn.initializers.zeros) -> jax.Array:
    """`x W + b` in the dtype of `x` with float32 sums: (..., C) -> (..., features) float32."""
    kernel = param(f'{name}_kernel', nn.initializers.lecun_normal(), (x.shape[-1], features))
    y = matmul_f32(x, kernel)
    if bias is None:
        return y
    return y + param(f'{name}_bias', bias, (features,)).reshape((1,) * (y.ndim - 1) + (features,))


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """`log(1 + e^x)` to the last digits, vectorised: XLA on CPU has no vectorised log1p."""
    small = jnp.exp(-jnp.abs(x))
    # float32 already; this keeps XLA from simplifying (1 + small) - 1.
    rounded = lax.reduce_precision(1 + small, 8, 23)
    # The quotient corrects the rounding of the sum (Kahan); 1 + small = 1 has log1p(small) = small.
    corrected = jnp.log(rounded) * small / jnp.where(rounded == 1, 1, rounded - 1)
    log1p = jnp.where(rounded == 1, small, corrected)
    return jnp.maximum(x, 0) + log1p


softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


def min_gru(param: Callable, x: jax.Array, features: int, state: jax.Array | None,
            valid: jax.Array | None, recur: Callable) -> tuple[jax.Array, jax.Array]:
    """minGRU (Feng et al. 2024, arXiv:2410.01201): `h' = (1 - z) h + z g(v)`.

    Gate and candidate depend on x alone. `g(v)` is `v + 1/2` for positive v and `sigmoid(v)` below,
    as in the paper's log-space form.
    """
    k, v = jnp.split(dense(param, 'input', x, 2 * features, bias=chrono_bias_init((-1, 0))), 2, -1)
    keep = jax.nn.sigmoid(-k)
    return recur(*_masked(keep, (1 - keep) * _positive(v), valid), state)


def min_lstm(param: Callable, x: jax.Array, features: int, state: jax.Array | None,
             valid: jax.Array | None, recur: Callable) -> tuple[jax.Array, jax.Array]:
    """minLSTM (Feng et al. 2024, arXiv:2410.01201): `h' = (f h + i g(v)) / (f + i)`.

    The gates f and i are sigmoids of linear functions of x.
    """
    projected = dense(param, 'input', x, 3 * features, bias=chrono_bias_init((1, -1, 0)))
    f, i, v = jnp.split(projected, 3, -1)
    # f / (f + i) = sigmoid(log f - log i), with log sigmoid(u) = -softplus(-u): no overflow and no
    # division.
    difference = softplus(-i) - softplus(-f)
    decay, new = jax.nn.sigmoid(difference), jax.nn.sigmoid(-difference) * _positive(v)
    return recur(*_masked(decay, new, valid), state)


def rg_lru(param: Callable, x: jax.Array, features: int, state: jax.Array | None,
           valid: jax.Array | None, recur: Callable) -> tuple[jax.Array, jax.Array]:
    """Real-gated linear recurrent unit (De et al. 2024, Griffin, arXiv:2402.19427).

    `h' = a h + sqrt(1 - a^2) i x` with `log a = -8 r softplus(lambda)`; the gates r and i are
    sigmoids of block-diagonal linear maps (eight blocks), and a at r = 1 is uniform in 0.9-0.999 at
    the start.
    """
    u = _of_width(param, x, features)
    r, i = (jax.nn.sigmoid(_block_dense(param, name, u))
            for name in ('recurrence_gate', 'input_gate'))
    log_a = -RG_LRU_POWER * r * softplus(param('decay', _rg_lru_decay, (features,)))[None, None]
    # The root has no derivative at 0, the value of a closed gate in float32.
    scale = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), 1e-12))
    return recur(*_masked(jnp.exp(log_a), scale * i * u.astype(jnp.float32), valid), state)


def s6(param: Callable, x: jax.Array, features: int, state: jax.Array | None,
       valid: jax.Array | None, recur: Callable, *, reverse: bool, split: bool
       ) -> tuple[jax.Array, jax.Array]:
    """Selective state space of Mamba (Gu & Dao 2023, arXiv:2312.00752), diagonal.

    There are 16 states a channel.
    `h' = exp(d A) h + d B x`; `y = C h + D x`; the step size d = softplus(...), B and C depend on
    x, and A = -exp(log A) starts at -1 ... -16. The inputs of d, B and C have an RMS norm each, as
    in Jamba (Lieber et al. 2024, arXiv:2403.19887): otherwise y grows as the cube of x, and with
    two scans as its ninth power. The states of 16 steps at a time are stored and computed again
    in the backward pass. State: (B, features, 16). Positions that are `split` over devices cannot
    be taken in turn: there all positions of one of the 16 states are held at once instead.
    """
    u = _of_width(param, x, features)
    # The paper's rank, but at least 4: the norm of a single number would leave its sign.
    rank = max(4, math.ceil(features / 16))
    low = _rms_norm(param, 'step', dense(param, 'step_low', u, rank, bias=None))
    step = softplus(dense(param, 'step', low.astype(x.dtype), features, bias=_step_bias))
    if valid is not None:
        step = jnp.where(valid[..., None], step, 0)
    into, out = jnp.split(dense(param, 'in_out', u, 2 * S6_STATES, bias=None), 2, -1)
    into, out = _rms_norm(param, 'in', into), _rms_norm(param, 'out', out)
    decay = -jnp.exp(param('log_decay', _s6_decay, (features, S6_STATES)))
    u = u.astype(jnp.float32)

    @jax.checkpoint
    def chunk(h, at):
        step, moved, into, out = at
        a = jnp.exp(step[..., None] * decay[None, None])
        states, h = recur(a, moved[..., None] * into[:, :, None], h)
        return h, jnp.einsum('lbds,lbs->lbd', states, out)

    start = jnp.zeros((x.shape[1], features, S6_STATES)) if state is None else state
    skip = u * param('skip', nn.initializers.ones, (features,))[None, None]
    if split:
        y, last = _one_state_after_the_other(step, step * u, into, out, decay, start, recur)
        return y + skip, last
    length = x.shape[0]
    size = math.ceil(length / math.ceil(length / S6_CHUNK))
    # The padding has step size 0: decay 1, input 0.
    parts = tuple(jnp.pad(part, ((0, -length % size), (0, 0), (0, 0)))
                  for part in (step, step * u, into, out))
    parts = tuple(part.reshape(-1, size, *part.shape[1:]) for part in parts)
    last, y = lax.scan(chunk, start, parts, reverse=reverse)
    y = y.reshape(-1, *y.shape[2:])[:length]
    return y + skip, last


def _one_state_after_the_other(step: jax.Array, moved: jax.Array, into: jax.Array, out: jax.Array,
                               decay: jax.Array, start: jax.Array, recur: Callable
                               ) -> tuple[jax.Array, jax.Array]:
    """The states of `s6` in a loop over their number: outputs (L, B, features), last states."""

    @jax.checkpoint
    def add(y, at):
        into, out, decay, start = at
        a = jnp.exp(step * decay[None, None])
        states, last = recur(a, moved * into[..., None], start)
        return y + states * out[..., None], last

    by_state = tuple(jnp.moveaxis(part, -1, 0) for part in (into, out, decay, start))
    y, last = lax.scan(add, jnp.zeros_like(step), by_state)
    return y, jnp.moveaxis(last, 0, -1)


def lru(param: Callable, x: jax.Array, features: int, state: jax.Array | None,
        valid: jax.Array | None, recur: Callable) -> tuple[jax.Array, jax.Array]:
    """Linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349): complex states, fixed decays.

    `h' = l h + g B x`, `y = Re(C h) + D x`, with `l = exp(-exp(nu) + i exp(theta))` on a ring of
    radius 0.9-0.999 and small phase, and g = sqrt(1 - |l|^2) at the start, learned as a logarithm.
    State: (B, features) complex64.
    """
    u = _of_width(param, x, features)
    nu, theta = (param(name, init, (features,))
                 for name, init in (('nu', _ring_nu), ('theta', _ring_phase)))
    decay = jnp.exp(lax.complex(-jnp.exp(nu), jnp.exp(theta)))
    log_gain = param('log_gain', lambda *_: 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu))),
                     (features,))
    real, imaginary = jnp.split(dense(param, 'in', u, 2 * features, bias=None), 2, -1)
    new = jnp.exp(log_gain)[None, None] * lax.complex(real, imaginary)
    a, b = _masked(decay[None, None], new, valid)
    h, last = recur(a, b, state)
    y = dense(param, 'out', jnp.concatenate([h.real, h.imag], -1), features, bias=None)
    skip = param('skip', nn.initializers.normal(1.0), (features,))
    return y + u.astype(jnp.float32) * skip[None, None], last


LINEAR: dict[str, Callable] = {
    'mingru': min_gru, 'minlstm': min_lstm, 'rglru': rg_lru, 's6': s6, 'lru': lru}


def _masked(a: jax.Array, b: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    if valid is None:
        return a, b
    valid = valid[..., None]
    return jnp.where(valid, a, jnp.ones_like(a)), jnp.where(valid, b, jnp.zeros_like(b))


def _positive(v: jax.Array) -> jax.Array:
    return jnp.where(v >= 0, v + 0.5, jax.nn.sigmoid(v))


def _rms_norm(param: Callable, name: str, x: jax.Array) -> jax.Array:
    """`x / sqrt(mean(x^2))` times a learned scale (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    scale = param(f'{name}_scale', nn.initializers.ones, (x.shape[-1],))
    return x * lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6) * scale[None, None]


def _of_width(param: Callable, x: jax.Array, features: int) -> jax.Array:
    return x if x.shape[-1] == features else dense(param, 'project', x, features).astype(x.dtype)


def _block_dense(param: Callable, name: str, x: jax.Array) -> jax.Array:
    blocks = math.gcd(x.shape[-1], 8)
    width = x.shape[-1] // blocks
    init = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
    kernel = param(f'{name}_kernel', init, (blocks, width, width))
    split = x.reshape(*x.shape[:-1], blocks, width)
    # Rounded to the dtype of x, multiplied in float32: XLA on CPU has no batched product of
    # bfloat16 with float32 sums.
    rounded = kernel.astype(x.dtype).astype(jnp.float32)
    y = jnp.einsum('lbnc,ncd->lbnd', split.astype(jnp.float32), rounded)
    bias = param(f'{name}_bias', nn.initializers.zeros, (x.shape[-1],))
    return y.reshape(x.shape) + bias[None, None]


def _rg_lru_decay(key: jax.Array, shape: tuple[int]) -> jax.Array:
    # softplus(lambda) = -log(a) / 8, solved for lambda.
    decay = jax.random.uniform(key, shape, minval=RING[0], maxval=RING[1])
    return jnp.log(jnp.expm1(-jnp.log(decay) / RG_LRU_POWER))


def _step_bias(key: jax.Array, shape: tuple[int]) -> jax.Array:
    """Step sizes log-uniform in 0.001-0.1: the inverse of softplus."""
    step = jnp.exp(jax.random.uniform(key, shape, minval=math.log(1e-3), maxval=math.log(0.1)))
    return step + jnp.log(-jnp.expm1(-step))


def _s6_decay(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[1] + 1))[None], shape)


def _ring_nu(key: jax.Array, shape: tuple[int]) -> jax.Array:
    squared = jax.random.uniform(key, shape, minval=RING[0] ** 2, maxval=RING[1] ** 2)
    return jnp.log(-0.5 * jnp.log(squared))


def _ring_phase(key: jax.Array, shape: tuple[int]) -> jax.Array:
    return jnp.log(jax.random.uniform(key, shape, minval=1e-3, maxval=math.pi / 10))
