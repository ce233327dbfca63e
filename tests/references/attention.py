"""Attention, one query at a time, in float64."""

import numpy as np


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def attend(query, key, value):
    """(B, N, heads, d), (B, M, heads, d), (B, M, heads, e) -> (B, N, heads, e)."""
    query, key, value = (np.asarray(x, float) for x in (query, key, value))
    out = np.zeros((*query.shape[:3], value.shape[-1]))
    for b, n, h in np.ndindex(query.shape[:3]):
        out[b, n, h] = softmax(key[b, :, h] @ query[b, n, h] / np.sqrt(query.shape[-1])) @ value[b, :, h]
    return out


def attention_pool(x, scores):
    """(B, H, W, C), (B, H, W) -> (B, C)."""
    out = []
    for picture, score in zip(np.asarray(x, float), np.asarray(scores, float), strict=True):
        a = np.exp(score) / np.exp(score).sum()
        out.append((a[..., None] * picture).sum((0, 1)))
    return np.stack(out)
