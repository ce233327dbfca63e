"""Dot-product attention: all scores at once for few tokens, piece by piece for many, the same result."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.errors import InputError

METHODS = ('auto', 'dense', 'chunked')
# Scores of one head above which 'auto' goes by chunks. On 2 CPU cores with 4 heads of 32 the two are even up to 256 tokens
# (forward and backward 2.5 ms and 2.3 ms); from then on chunks stay in the cache: 255 and 126 ms at 2 x 1,024 tokens,
# 1.5 and 0.43 s at 4,096. Not measured on GPU, where cuDNN's kernel comes first.
DENSE_SCORES = 256 * 256
# A score of nothing; finite, because -inf - -inf is NaN.
LOW = -2e38
Bias = Callable[..., jax.Array]


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *, bias: Bias | None = None, method: str = 'auto',
           query_chunk: int = 512, key_chunk: int = 1024) -> jax.Array:
    """`softmax(q k^T / sqrt(d) + bias) v` (Vaswani et al. 2017, arXiv:1706.03762), exact, softmax in float32.

    'dense' holds all scores, or leaves them to cuDNN's kernel where there is one. 'chunked' holds the scores of one chunk
    of queries with one chunk of keys, forward and backward (Rabe & Staats 2021, arXiv:2112.05682; the backward pass of
    FlashAttention, arXiv:2205.14135). 'auto' is dense for few tokens and chunked for many.

    Args:
      query: (B, N, heads, d).
      key, value: (B, M, heads, d).
      bias: (indices (n,) of queries, indices (m,) of keys) -> finite float32 of shape (1 or B, 1 or heads, n, m), made
        when it is needed, so that big maps never hold all of it. Gradients reach the arrays that it closes over.
      method: 'auto', 'dense' or 'chunked'.
      query_chunk, key_chunk: the most queries and keys of one piece.

    Returns:
      (B, N, heads, d) in the dtype of the arguments.

    Raises:
      InputError: an unknown method.
    """
    if method not in METHODS:
        raise InputError(f'method: {method!r} is unknown; known: {", ".join(METHODS)}')
    n, m, fused = query.shape[1], key.shape[1], bias is None and _fused(query)
    if method == 'chunked' or method == 'auto' and n * m > DENSE_SCORES and not fused:
        return _attend_by_chunks(query, key, value, bias, query_chunk, key_chunk)
    return jax.nn.dot_product_attention(query, key, value, bias and bias(jnp.arange(n), jnp.arange(m)),
                                        implementation='cudnn' if fused else 'xla')


def _fused(query: jax.Array) -> bool:
    """Whether cuDNN's kernel takes these heads: 16 bits, at most 128 wide, on an NVIDIA GPU from Ampere on."""
    if query.dtype not in (jnp.bfloat16, jnp.float16) or query.shape[-1] > 128 or query.shape[-1] % 8:
        return False
    capability = getattr(jax.devices()[0], 'compute_capability', '')
    return capability.replace('.', '').isdigit() and float(capability) >= 8


def _attend_by_chunks(query, key, value, bias, query_chunk, key_chunk) -> jax.Array:
    n, m, constants = query.shape[1], key.shape[1], []
    query, key, value = _split(query, query_chunk), _split(key, key_chunk), _split(value, key_chunk)
    if bias is not None:
        # What the bias closes over becomes an argument: a custom derivative must see it.
        bias, constants = jax.closure_convert(bias, _indices(query)[0], _indices(key)[0])
    return _join(_chunked((bias, n, m), query, key, value, constants), n)


def _split(x: jax.Array, most: int) -> jax.Array:
    """(B, N, heads, d) -> (chunks, B, heads, size, d), the last chunk filled up with zeros."""
    count = -(-x.shape[1] // most)
    # Chunks of about the same size, so that the last one is not mostly padding.
    size = -(-x.shape[1] // count)
    x = jnp.pad(x, ((0, 0), (0, count * size - x.shape[1]), (0, 0), (0, 0)))
    return x.reshape(x.shape[0], count, size, *x.shape[2:]).transpose(1, 0, 3, 2, 4)


def _join(chunks: jax.Array, length: int) -> jax.Array:
    """The reverse of `_split`."""
    count, batch, heads, size, width = chunks.shape
    return chunks.transpose(1, 0, 3, 2, 4).reshape(batch, count * size, heads, width)[:, :length]


def _indices(chunks: jax.Array) -> jax.Array:
    """The indices of the tokens in every chunk: (chunks, size)."""
    return jnp.arange(chunks.shape[0] * chunks.shape[3]).reshape(chunks.shape[0], chunks.shape[3])


def _scores(static, query, key, queries, keys, constants) -> jax.Array:
    """The scores (B, heads, n, m) of a chunk of queries with a chunk of keys, float32; those of padding are `LOW`."""
    bias, n, m = static
    scores = jnp.einsum('bhnd,bhmd->bhnm', query, key, preferred_element_type=jnp.float32) / query.shape[-1] ** 0.5
    if bias is not None:
        scores += bias(jnp.minimum(queries, n - 1), jnp.minimum(keys, m - 1), *constants)
    return jnp.where((keys < m)[None, None, None], scores, LOW)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked(static, query, key, value, constants) -> jax.Array:
    return _forward(static, query, key, value, constants)[0]


def _forward(static, query, key, value, constants):
    """One chunk of queries after the other, over all keys with an online softmax (Milakov & Gimelshein 2018)."""

    def row(chunk):
        q, queries = chunk

        def piece(state, chunk):
            (k, v, keys), (highest, total, weighted) = chunk, state
            scores = _scores(static, q, k, queries, keys, constants)
            higher = jnp.maximum(highest, scores.max(-1, keepdims=True))
            weights, shrink = jnp.exp(scores - higher), jnp.exp(highest - higher)
            value = jnp.einsum('bhnm,bhmd->bhnd', weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
            return (higher, total * shrink + weights.sum(-1, keepdims=True), weighted * shrink + value), None

        nothing = jnp.zeros((*q.shape[:-1], 1))
        start = nothing + LOW, nothing, jnp.zeros(q.shape)
        (highest, total, weighted), _ = lax.scan(piece, start, (key, value, _indices(key)))
        return (weighted / total).astype(q.dtype), highest + jnp.log(total)

    out, normaliser = lax.map(row, (query, _indices(query)))
    return out, (query, key, value, constants, out, normaliser)


def _backward(static, saved, slope):
    """The same pieces again: weights from the saved log of their sum, then the derivative of the softmax."""
    query, key, value, constants, out, normaliser = saved

    def row(state, chunk):
        q, queries, log_total, slope, mean = chunk

        def piece(state, chunk):
            (k, v, keys), (to_query, to_constants) = chunk, state
            weights = jnp.exp(_scores(static, q, k, queries, keys, constants) - log_total)
            to_weights = jnp.einsum('bhnd,bhmd->bhnm', slope, v, preferred_element_type=jnp.float32)
            to_scores = weights * (to_weights - mean)
            to_constants = jax.tree.map(jnp.add, to_constants, _to_constants(static, queries, keys, constants, to_scores))
            small = (to_scores / q.shape[-1] ** 0.5).astype(q.dtype)
            to_query += jnp.einsum('bhnm,bhmd->bhnd', small, k, preferred_element_type=jnp.float32)
            to_key = jnp.einsum('bhnm,bhnd->bhmd', small, q, preferred_element_type=jnp.float32)
            to_value = jnp.einsum('bhnm,bhnd->bhmd', weights.astype(v.dtype), slope, preferred_element_type=jnp.float32)
            return (to_query, to_constants), (to_key, to_value)

        to_key, to_value, to_constants = state
        (to_query, to_constants), (more_key, more_value) = lax.scan(
            piece, (jnp.zeros(q.shape), to_constants), (key, value, _indices(key)))
        return (to_key + more_key, to_value + more_value, to_constants), to_query

    mean = jnp.sum(slope.astype(jnp.float32) * out, -1, keepdims=True)
    zeros = jnp.zeros(key.shape), jnp.zeros(value.shape), jax.tree.map(jnp.zeros_like, constants)
    (to_key, to_value, to_constants), to_query = lax.scan(
        row, zeros, (query, _indices(query), normaliser, slope, mean))
    return to_query.astype(query.dtype), to_key.astype(key.dtype), to_value.astype(value.dtype), to_constants


def _to_constants(static, queries, keys, constants, to_scores):
    """The derivative of what the bias closes over."""
    bias, n, m = static
    if bias is None:
        return constants
    places = jnp.minimum(queries, n - 1), jnp.minimum(keys, m - 1)
    _, pull = jax.vjp(lambda constants: jnp.broadcast_to(bias(*places, *constants), to_scores.shape), constants)
    return pull(to_scores)[0]


_chunked.defvjp(_forward, _backward)
