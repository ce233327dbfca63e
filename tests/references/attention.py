"""Attention by its formula: one query after the other, over all keys, in float64."""

import numpy as np


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray,
           bias: np.ndarray | None = None) -> np.ndarray:
    """`sum_j softmax_j(q_i k_j / sqrt(d) + bias_ij) v_j`: (B, N, heads, d) -> (B, N, heads, e).

    `bias` is (heads or 1, N, M), -inf where i does not see j.
    """
    query, key, value = (np.asarray(array, np.float64) for array in (query, key, value))
    bias = np.zeros((1, query.shape[1], key.shape[1])) if bias is None else bias
    bias = np.broadcast_to(bias, (query.shape[2], *bias.shape[1:]))
    out = np.zeros((*query.shape[:3], value.shape[-1]))
    for b, i, head in np.ndindex(*query.shape[:3]):
        scores = np.array([query[b, i, head] @ k / np.sqrt(query.shape[-1])
                           for k in key[b, :, head]]) + bias[head, i]
        weights = softmax(scores)
        out[b, i, head] = sum(a * v for a, v in zip(weights, value[b, :, head], strict=True))
    return out


def linear_attend(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """`sum_j phi(q_i) phi(k_j) v_j / sum_j phi(q_i) phi(k_j)`; `phi = elu + 1`, (B, N, h, d)."""
    phi_q, phi_k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (query, key))
    out = np.zeros(value.shape)
    for b, i, head in np.ndindex(*query.shape[:3]):
        weights = np.array([phi_q[b, i, head] @ k for k in phi_k[b, :, head]])
        weights = weights / weights.sum()
        out[b, i, head] = sum(a * v for a, v in zip(weights, value[b, :, head], strict=True))
    return out


def criss_cross(x: np.ndarray, params: dict, recurrence: int) -> np.ndarray:
    """CCNet's residual, (B, H, W, C): softmax over the positions in the same row or column."""
    for _ in range(recurrence):
        query, key, value = (linear(x, params[name]) for name in ('query', 'key', 'value'))
        attended = np.zeros(x.shape)
        for b, i, j in np.ndindex(*x.shape[:3]):
            row = {(i, right) for right in range(x.shape[2])}
            cross = sorted(row | {(down, j) for down in range(x.shape[1])})
            weights = softmax(np.array([query[b, i, j] @ key[(b, *place)] for place in cross]))
            attended[b, i, j] = sum(a * value[(b, *place)]
                                    for a, place in zip(weights, cross, strict=True))
        x = x + params['gamma'] * attended
    return x


def transformer(x: np.ndarray, params: dict, mix, blocks: int) -> np.ndarray:
    """Pre-norm blocks on (B, H, W, C); `mix(query, key, value, index)` on (B, H * W, heads, d)."""
    tokens = np.asarray(x, np.float64).reshape(x.shape[0], -1, x.shape[-1])
    for i in range(blocks):
        qkv = params[f'qkv{i}']
        y = np.einsum('bnc,cshd->sbnhd', norm(tokens, params[f'norm{i}_attention']), qkv['kernel'])
        y = mix(*(y + qkv['bias'][:, None, None]), i)
        tokens = (tokens + np.einsum('bnhd,hdc->bnc', y, params[f'out{i}']['kernel'])
                  + params[f'out{i}']['bias'])
        hidden = gelu(linear(norm(tokens, params[f'norm{i}_mlp']), params[f'mlp{i}_in']))
        tokens = tokens + linear(hidden, params[f'mlp{i}_out'])
    return tokens.reshape(x.shape)


def rotate(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pairs of channels (c, c + d / 2) rotated by the row or the column: (B, H * W, heads, d)."""
    x = np.asarray(x, np.float64)
    out, half = np.zeros(x.shape), x.shape[-1] // 2
    for (i, j), c in ((where, c) for where in np.ndindex(height, width) for c in range(half)):
        place, index = (i, c) if c < half // 2 else (j, c - half // 2)
        angle = place * 100 ** (-index / (half // 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pair = x[:, i * width + j, :, [c, c + half]]
        out[:, i * width + j, :, [c, c + half]] = np.einsum('pq,qbh->pbh', turn, pair)
    return out


def offsets(table: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Relative biases (heads, 2 r + 1, 2 c + 1) -> (heads, N, N), by clipped offsets of pairs."""
    places, reach = list(np.ndindex(*size)), np.array(table.shape[1:]) // 2
    out = np.zeros((table.shape[0], len(places), len(places)))
    for n, m in np.ndindex(*out.shape[1:]):
        i, j = np.clip(np.subtract(places[n], places[m]), -reach, reach) + reach
        out[:, n, m] = table[:, i, j]
    return out


def linear(x: np.ndarray, params: dict) -> np.ndarray:
    return x @ params['kernel'] + params['bias']


def norm(x: np.ndarray, params: dict) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return (centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-6) * params['scale']
            + params['bias'])


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def attention_pool(x: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`a_i = exp(s_i) / sum_j exp(s_j)`, `y = sum_i a_i x_i`: (B, H, W, C), (B, H, W) -> (B, C)."""
    x, scores = np.asarray(x, np.float64), np.asarray(scores, np.float64)
    out = np.zeros((x.shape[0], x.shape[-1]))
    for b in range(x.shape[0]):
        total = sum(np.exp(scores[b, i, j]) for i, j in np.ndindex(*scores.shape[1:]))
        for i, j in np.ndindex(*scores.shape[1:]):
            out[b] += np.exp(scores[b, i, j]) / total * x[b, i, j]
    return out
