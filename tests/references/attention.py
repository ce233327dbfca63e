"""Attention by its formula: one query after the other, over all keys, in float64."""

import numpy as np


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """`sum_j softmax_j(q_i k_j / sqrt(d)) v_j` for every batch element and head: (B, N, heads, d) -> (B, N, heads, e)."""
    query, key, value = (np.asarray(array, np.float64) for array in (query, key, value))
    out = np.zeros((*query.shape[:3], value.shape[-1]))
    for b, i, head in np.ndindex(*query.shape[:3]):
        weights = np.exp([query[b, i, head] @ k / np.sqrt(query.shape[-1]) for k in key[b, :, head]])
        out[b, i, head] = sum(a * v for a, v in zip(weights / weights.sum(), value[b, :, head], strict=True))
    return out


def attention_pool(x: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`a_i = exp(s_i) / sum_j exp(s_j)`, `y = sum_i a_i x_i`: (B, H, W, C), (B, H, W) -> (B, C)."""
    x, scores = np.asarray(x, np.float64), np.asarray(scores, np.float64)
    out = np.zeros((x.shape[0], x.shape[-1]))
    for b in range(x.shape[0]):
        total = sum(np.exp(scores[b, i, j]) for i, j in np.ndindex(*scores.shape[1:]))
        for i, j in np.ndindex(*scores.shape[1:]):
            out[b] += np.exp(scores[b, i, j]) / total * x[b, i, j]
    return out
