"""Optimizers: gradient clipping, an optax rule, weight decay of kernels, the learning rate.

All take `groups` and `layer_decay`, factors of the learning rate (`jaxseg.training.groups`): those
of groups of parameters, as [['encoder/.*', 0.1], ['.*', 1.0]], and of the depth in the encoder.
"""

import functools
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from optax import contrib

from jaxseg.fields import NonNegative, Positive, PositiveInt, Range
from jaxseg.training.groups import Groups, LayerDecay, scale_by_groups

Decay = Annotated[float, Range(0, below=1)]  # of a running mean
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients of Jordan et al. 2024
# Iterations with products of the smaller side alone; in more of them rounding would give a singular
# matrix negative squares, which grow by 12 each time.
AT_ONCE = 3
# Names of parameters: of class outputs, and of arrays whose first axis counts matrices.
_HEAD = re.compile(r'head/|auxiliary/heads_\d+/')
_SEVERAL = re.compile(r'_gate_kernel$|(^|/)corners/')


def sgd(*, learning_rate: Positive, schedule: Callable, momentum: Decay = 0.9,
        nesterov: bool = False, weight_decay: NonNegative = 1e-4,
        max_grad_norm: Positive | None = None, groups: Groups = (), layer_decay: LayerDecay = 1.0
        ) -> optax.GradientTransformation:
    """SGD with momentum; the decay is added to the clipped gradient, as in torch.optim.SGD."""
    return optax.chain(_clip(max_grad_norm), _decay(weight_decay), optax.trace(momentum, nesterov),
                       scale_by_groups(groups, layer_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def adamw(*, learning_rate: Positive, schedule: Callable, b1: Decay = 0.9, b2: Decay = 0.999,
          weight_decay: NonNegative = 0.01, max_grad_norm: Positive | None = None,
          groups: Groups = (), layer_decay: LayerDecay = 1.0) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return optax.chain(_clip(max_grad_norm), optax.scale_by_adam(b1, b2), _decay(weight_decay),
                       scale_by_groups(groups, layer_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def lion(*, learning_rate: Positive, schedule: Callable, b1: Decay = 0.9, b2: Decay = 0.99,
         weight_decay: NonNegative = 0.1, max_grad_norm: Positive | None = None,
         groups: Groups = (), layer_decay: LayerDecay = 1.0) -> optax.GradientTransformation:
    """Sign of an interpolated momentum (Chen et al. 2023): 1/3 to 1/10 of AdamW's learning rate."""
    return optax.chain(_clip(max_grad_norm), optax.scale_by_lion(b1, b2), _decay(weight_decay),
                       scale_by_groups(groups, layer_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def muon(*, learning_rate: Positive, schedule: Callable, momentum: Decay = 0.95, b1: Decay = 0.9,
         b2: Decay = 0.999, iterations: PositiveInt = 5, weight_decay: NonNegative = 0.01,
         max_grad_norm: Positive | None = None, groups: Groups = (),
         layer_decay: LayerDecay = 1.0) -> optax.GradientTransformation:
    """Orthogonalised momentum (Jordan et al. 2024) of kernels, Adam (b1, b2) of all else.

    A kernel is the matrix (all other axes, features). Kernels of the heads, the auxiliary ones
    included, and of depthwise convolutions, which are no matrices between features, are left to
    Adam, and so are arrays of several matrices (RG-LRU's gates, MDRNN2D). Updates are scaled as
    by Liu et al. 2025 (arXiv:2502.16982), so that AdamW's learning rate and weight decay fit both.
    `iterations` are those of Newton and Schulz, from the momentum to an orthogonal matrix; 3 take
    less time and leave its smallest singular values below 1.
    """
    # The momentum, divided by its norm. Optax's iterations, which are those of `_orthogonal`, would
    # multiply the whole matrix each time: for the CamVid recipe 80 ms a step in place of 26.
    normalised = contrib.scale_by_muon(ns_steps=0, beta=momentum,
                                       weight_dimension_numbers=_matrices)
    orthogonal = optax.stateless_with_tree_map(lambda kernel, _: _orthogonal(kernel, iterations))
    rule = optax.partition({'muon': optax.chain(normalised, orthogonal),
                            'adam': optax.scale_by_adam(b1, b2, nesterov=True)}, _muon_or_adam)
    return optax.chain(_clip(max_grad_norm), rule, _decay(weight_decay),
                       scale_by_groups(groups, layer_decay),
                       scale_by_rate(lambda step: learning_rate * schedule(step)))


def schedule_free_adamw(*, learning_rate: Positive, schedule: Callable,
                        b1: Annotated[float, Range(above=0, below=1)] = 0.9, b2: Decay = 0.999,
                        weight_decay: NonNegative = 0.01, max_grad_norm: Positive | None = None,
                        groups: Groups = (), layer_decay: LayerDecay = 1.0
                        ) -> optax.GradientTransformation:
    """AdamW that averages its steps in place of a schedule (Defazio et al. 2024).

    It wants `schedule.constant`, with a warm-up. Gradients are taken between the last weights and
    their average (`b1`: how near to the average), and evaluation uses the average
    (`evaluated_params`). Batch norm has the statistics of the former.
    """
    def rate(step: jax.Array) -> jax.Array:
        return learning_rate * schedule(step)

    rule = optax.chain(optax.scale_by_adam(0.0, b2), _decay(weight_decay),
                       scale_by_groups(groups, layer_decay), scale_by_rate(rate))
    return optax.chain(_clip(max_grad_norm), contrib.schedule_free(rule, rate, b1))


class RateState(NamedTuple):
    """Number of updates done, and the learning rate of the last one (at first: of the first)."""

    count: jax.Array
    rate: jax.Array


def scale_by_rate(rate: Callable[[jax.Array], jax.Array]) -> optax.GradientTransformation:
    """Multiplies updates by `-rate(step)`; the state keeps the rate, for `applied_rate`."""

    def init(params: Any) -> RateState:
        count = jnp.zeros((), jnp.int32)
        return RateState(count, jnp.asarray(rate(count), jnp.float32))

    def update(updates: Any, state: RateState, params: Any = None) -> tuple[Any, RateState]:
        applied = jnp.asarray(rate(state.count), jnp.float32)
        updates = jax.tree.map(lambda update: -applied.astype(update.dtype) * update, updates)
        return updates, RateState(optax.safe_increment(state.count), applied)

    return optax.GradientTransformation(init, update)


def applied_rate(opt_state: Any) -> jax.Array | None:
    """The learning rate of the last update; None for an optimizer without `scale_by_rate`."""
    state = _find(opt_state, RateState)
    return None if state is None else state.rate


def evaluated_params(opt_state: Any, params: Any) -> Any:
    """The parameters that a model is evaluated with: the average of a schedule-free optimizer."""
    state = _find(opt_state, contrib.ScheduleFreeState)
    return params if state is None else contrib.schedule_free_eval_params(state, params)


def _find(opt_state: Any, kind: type) -> Any | None:
    """The first state of this kind in that of a chain."""
    states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return next((state for state in states if isinstance(state, kind)), None)


def is_kernel(params: Any) -> Any:
    """True for kernels, by name: weight decay applies to them, not to biases or norm scales."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path).endswith('kernel'), params)


def _muon_or_adam(params: Any) -> Any:
    """'muon' for the kernels that Muon takes as matrices, 'adam' for all other parameters."""
    def rule(path: tuple, leaf: jax.Array) -> str:
        name = '/'.join(str(getattr(key, 'key', '')) for key in path)
        depthwise = leaf.ndim == 4 and leaf.shape[2] == 1
        several = leaf.ndim == 3 and _SEVERAL.search(name)
        other = leaf.ndim < 2 or depthwise or several or _HEAD.match(name)
        return 'adam' if other or not _name(path).endswith('kernel') else 'muon'

    return jax.tree_util.tree_map_with_path(rule, params)


def _matrices(kernels: Any) -> Any:
    """The axes of every kernel as those of a matrix."""
    return jax.tree.map(lambda kernel: contrib.MuonDimensionNumbers(
        tuple(range(kernel.ndim - 1)), kernel.ndim - 1), kernels)


def _orthogonal(kernel: jax.Array, iterations: int) -> jax.Array:
    """A kernel of norm 1 after these iterations, scaled as by Liu et al. 2025."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    for done in range(0, iterations, AT_ONCE):
        matrix = _iterations(matrix, min(AT_ONCE, iterations - done))
    return (0.2 * max(matrix.shape) ** 0.5 * matrix).reshape(kernel.shape)


def _iterations(matrix: jax.Array, count: int) -> jax.Array:
    """`count` times `X <- a X + b S X + c S S X` with `S = X X^T`.

    Each multiplies X by a polynomial of S, and so do all together: only products of the smaller
    side of X are formed every time.
    """
    a, b, c = NEWTON_SCHULZ
    dot = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    tall = matrix.shape[0] > matrix.shape[1]
    square = dot(matrix.T, matrix) if tall else dot(matrix, matrix.T)
    factors = []
    for _ in range(count):
        factors.append(a * jnp.eye(len(square)) + b * square + c * dot(square, square))
        square = dot(dot(factors[-1], square), factors[-1])
    factor = functools.reduce(dot, factors)
    return dot(matrix, factor) if tall else dot(factor, matrix)


def _name(path: tuple) -> str:
    """The last name on the path to a leaf; a parameter may be a tuple of arrays."""
    names = [str(getattr(key, 'key', getattr(key, 'name', ''))) for key in path]
    return next((name for name in reversed(names) if name), '')


def _decay(weight_decay: float) -> optax.GradientTransformation:
    return optax.add_decayed_weights(weight_decay, mask=is_kernel)


def _clip(max_grad_norm: float | None) -> optax.GradientTransformation:
    return optax.identity() if max_grad_norm is None else optax.clip_by_global_norm(max_grad_norm)
