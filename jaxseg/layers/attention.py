"""Dot-product attention, dense or in chunks with the same result."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxseg.errors import InputError
from jaxseg.layers.partition import space_axis
from jaxseg.layers.platform import platform
from jaxseg.layers.symbolic import are_numbers

Method = Literal['auto', 'dense', 'chunked']
# Scores of one head above which 'auto' is chunked. On 2 CPU cores with 4 heads of 32 both take the
# same up to 256 tokens (forward and backward 2.5 ms and 2.3 ms); beyond, chunks stay in the cache:
# 255 and 126 ms at 2 x 1,024 tokens, 1.5 and 0.43 s at 4,096. Not measured on GPU, where cuDNN's
# kernel is preferred.
DENSE_SCORES = 256 * 256
# A score of weight zero; finite, because -inf - -inf is NaN.
LOW = -2e38
Bias = Callable[..., jax.Array]


@struct.dataclass
class AttentionInputs:
    """What the weights of an attention follow from, for `jaxseg explain`.

    Attributes:
      query: (B, N, heads, d).
      key: (B, M, heads, d).
      bias: of the scores, (1 or B, 1 or heads, N, M), or None.
      size, key_size: height and width of the maps whose positions are the N queries and the M keys;
        None where other tokens stand before those of one map.
    """

    query: jax.Array
    key: jax.Array
    bias: jax.Array | None = None
    size: tuple[int, int] | None = struct.field(pytree_node=False, default=None)
    key_size: tuple[int, int] | None = struct.field(pytree_node=False, default=None)


def sow_attention(module: nn.Module, query: jax.Array, key: jax.Array, *, bias: Bias | None = None,
                  size: tuple[int, int] | None = None, key_size: tuple[int, int] | None = None):
    """Sows `AttentionInputs` as `attention` where `intermediates` are asked for, else does nothing.

    Neither training nor inference asks for them. Arguments as in `attend` and `AttentionInputs`.
    """
    if module.is_mutable_collection('intermediates'):
        scores = bias and bias(jnp.arange(query.shape[1]), jnp.arange(key.shape[1]))
        module.sow('intermediates', 'attention',
                   AttentionInputs(query, key, scores, size, key_size or size))


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *, bias: Bias | None = None,
           method: Method = 'auto', query_chunk: int = 512, key_chunk: int = 1024) -> jax.Array:
    """`softmax(q k^T / sqrt(d) + bias) v` (Vaswani et al. 2017, arXiv:1706.03762), exact.

    The softmax is float32. 'dense' computes all scores, or uses cuDNN's kernel where there is one.
    'chunked' computes the scores of one chunk of queries with one chunk of keys, forward and
    backward (Rabe & Staats 2021, arXiv:2112.05682; the backward pass of FlashAttention,
    arXiv:2205.14135). 'auto' is dense for few tokens and chunked for many.

    Args:
      query: (B, N, heads, d).
      key, value: (B, M, heads, d).
      bias: (indices (n,) of queries, indices (m,) of keys) -> finite float32 of shape
        (1 or B, 1 or heads, n, m), computed a chunk at a time, so that large maps never need all of
        it. Gradients reach the arrays that it closes over.
      method: 'auto', 'dense' or 'chunked'.
      query_chunk, key_chunk: the most queries and keys of one chunk.

    Returns:
      (B, N, heads, d) in the dtype of the arguments.

    Raises:
      InputError: an unknown method.
    """
    if method not in get_args(Method):
        raise InputError(f'method: {method!r} is unknown; known: {", ".join(get_args(Method))}')
    n, m, fused = query.shape[1], key.shape[1], bias is None and _fused(query)
    if query.dtype == jnp.float16 and not fused and platform() == 'cpu':
        # XLA on CPU has no product of float16 with float32 sums.
        query, key, value = (array.astype(jnp.float32) for array in (query, key, value))
        options = dict(bias=bias, method=method, query_chunk=query_chunk, key_chunk=key_chunk)
        return attend(query, key, value, **options).astype(jnp.float16)
    if method == 'chunked' or method == 'auto' and not fused and _are_many(n, m):
        return _attend_by_chunks(query, key, value, bias, query_chunk, key_chunk)
    scores = bias and bias(jnp.arange(n), jnp.arange(m))
    return jax.nn.dot_product_attention(query, key, value, scores,
                                        implementation='cudnn' if fused else 'xla')


def _are_many(n: int, m: int) -> bool:
    """Numbers that are known only when the program runs (`jax.export`) allow no chunks."""
    return are_numbers([n, m]) and n * m > DENSE_SCORES


def _fused(query: jax.Array) -> bool:
    """Whether cuDNN's kernel supports the heads: 16 bits, at most 128 wide, from Ampere on.

    JAX lowers it for CUDA alone, and refuses tokens that are split over devices.
    """
    if platform() != 'gpu' or space_axis() is not None:
        return False
    width = query.shape[-1]
    if query.dtype not in (jnp.bfloat16, jnp.float16) or width > 128 or width % 8:
        return False
    capability = getattr(jax.devices()[0], 'compute_capability', '')
    return capability.replace('.', '').isdigit() and float(capability) >= 8


def _attend_by_chunks(query, key, value, bias, query_chunk, key_chunk) -> jax.Array:
    n, m, constants = query.shape[1], key.shape[1], []
    query, key, value = _split(query, query_chunk), _split(key, key_chunk), _split(value, key_chunk)
    if bias is not None:
        # A custom derivative needs the arrays that the bias closes over as arguments.
        bias, constants = jax.closure_convert(bias, _indices(query)[0], _indices(key)[0])
    return _join(_chunked((bias, n, m), query, key, value, constants), n)


def _split(x: jax.Array, most: int) -> jax.Array:
    """(B, N, heads, d) -> (chunks, B, heads, size, d), the last chunk padded with zeros."""
    count = -(-x.shape[1] // most)
    # Chunks of about the same size, so that the last one is not mostly padding.
    size = -(-x.shape[1] // count)
    x = jnp.pad(x, ((0, 0), (0, count * size - x.shape[1]), (0, 0), (0, 0)))
    return x.reshape(x.shape[0], count, size, *x.shape[2:]).transpose(1, 0, 3, 2, 4)


def _join(chunks: jax.Array, length: int) -> jax.Array:
    """The inverse of `_split`."""
    count, batch, heads, size, width = chunks.shape
    return chunks.transpose(1, 0, 3, 2, 4).reshape(batch, count * size, heads, width)[:, :length]


def _indices(chunks: jax.Array) -> jax.Array:
    """The indices of the tokens in every chunk: (chunks, size)."""
    return jnp.arange(chunks.shape[0] * chunks.shape[3]).reshape(chunks.shape[0], chunks.shape[3])


def _scores(static, query, key, queries, keys, constants) -> jax.Array:
    """Of a chunk of queries with one of keys, (B, heads, n, m) float32; `LOW` for padding."""
    bias, n, m = static
    scores = _product('bhnd,bhmd->bhnm', query, key) / query.shape[-1] ** 0.5
    if bias is not None:
        scores += bias(jnp.minimum(queries, n - 1), jnp.minimum(keys, m - 1), *constants)
    return jnp.where((keys < m)[None, None, None], scores, LOW)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked(static, query, key, value, constants) -> jax.Array:
    return _forward(static, query, key, value, constants)[0]


def _forward(static, query, key, value, constants):
    """For each chunk of queries, an online softmax over the keys (Milakov & Gimelshein 2018)."""

    def row(chunk):
        q, queries = chunk

        def add(state, chunk):
            (k, v, keys), (highest, total, weighted) = chunk, state
            scores = _scores(static, q, k, queries, keys, constants)
            higher = jnp.maximum(highest, scores.max(-1, keepdims=True))
            weights, shrink = jnp.exp(scores - higher), jnp.exp(highest - higher)
            total = total * shrink + weights.sum(-1, keepdims=True)
            weighted = weighted * shrink + _product('bhnm,bhmd->bhnd', weights.astype(v.dtype), v)
            return (higher, total, weighted), None

        zeros = jnp.zeros((*q.shape[:-1], 1))
        start = zeros + LOW, zeros, jnp.zeros(q.shape)
        (highest, total, weighted), _ = lax.scan(add, start, (key, value, _indices(key)))
        return (weighted / total).astype(q.dtype), highest + jnp.log(total)

    out, normalizer = lax.map(row, (query, _indices(query)))
    return out, (query, key, value, constants, out, normalizer)


def _backward(static, residuals, cotangent):
    """The weights from the log of their sum, chunk by chunk, and the derivative of the softmax."""
    query, key, value, constants, out, normalizer = residuals

    def row(state, chunk):
        q, queries, log_total, d_out, mean = chunk

        def add(state, chunk):
            (k, v, keys), (d_query, d_constants) = chunk, state
            weights = jnp.exp(_scores(static, q, k, queries, keys, constants) - log_total)
            d_scores = weights * (_product('bhnd,bhmd->bhnm', d_out, v) - mean)
            more = _constants_vjp(static, queries, keys, constants, d_scores)
            scaled = (d_scores / q.shape[-1] ** 0.5).astype(q.dtype)
            d_query += _product('bhnm,bhmd->bhnd', scaled, k)
            d_key = _product('bhnm,bhnd->bhmd', scaled, q)
            d_value = _product('bhnm,bhnd->bhmd', weights.astype(v.dtype), d_out)
            return (d_query, jax.tree.map(jnp.add, d_constants, more)), (d_key, d_value)

        d_key, d_value, d_constants = state
        (d_query, d_constants), (more_key, more_value) = lax.scan(
            add, (jnp.zeros(q.shape), d_constants), (key, value, _indices(key)))
        return (d_key + more_key, d_value + more_value, d_constants), d_query

    mean = jnp.sum(cotangent.astype(jnp.float32) * out, -1, keepdims=True)
    zeros = jax.tree.map(jnp.zeros_like, constants)
    (d_key, d_value, d_constants), d_query = lax.scan(
        row, (jnp.zeros(key.shape), jnp.zeros(value.shape), zeros),
        (query, _indices(query), normalizer, cotangent, mean))
    d_arrays = (gradient.astype(array.dtype) for gradient, array in (
        (d_query, query), (d_key, key), (d_value, value)))
    return *d_arrays, d_constants


def _product(equation: str, *arrays: jax.Array) -> jax.Array:
    """An einsum with float32 sums and result."""
    return jnp.einsum(equation, *arrays, preferred_element_type=jnp.float32)


def _constants_vjp(static, queries, keys, constants, d_scores):
    """The gradient of the arrays that the bias closes over."""
    bias, n, m = static
    if bias is None:
        return constants
    indices = jnp.minimum(queries, n - 1), jnp.minimum(keys, m - 1)
    _, vjp_fn = jax.vjp(
        lambda constants: jnp.broadcast_to(bias(*indices, *constants), d_scores.shape), constants)
    return vjp_fn(d_scores)[0]


_chunked.defvjp(_forward, _backward)
