"""Segmenter's mask transformer in numpy, one sample and one head at a time, in float64."""

import math

import numpy as np


def layer_norm(x, parameters, epsilon=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + epsilon)
    return scaled * parameters['scale'] + parameters['bias']


def linear(x, parameters):
    return x @ parameters['kernel'] + parameters.get('bias', 0)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def block(x, parameters, heads):
    """(N, C) -> the same."""
    y = layer_norm(x, parameters['norm1'])
    query, key, value = (linear(y, parameters[name]) for name in ('query', 'key', 'value'))
    width, mixed = x.shape[-1] // heads, np.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for position in range(len(x)):
            scores = key[:, part] @ query[position, part] / math.sqrt(width)
            weights = np.exp(scores - scores.max())
            mixed[position, part] = weights / weights.sum() @ value[:, part]
    x = x + linear(mixed, parameters['out'])
    y = gelu(linear(layer_norm(x, parameters['norm2']), parameters['mlp_in']))
    return x + linear(y, parameters['mlp_out'])


def mask_transformer(features, parameters, layers, heads):
    """(H, W, C) -> logits (H, W, classes)."""
    height, width, channels = features.shape
    x = linear(features.reshape(-1, channels), parameters['project'])
    x = np.concatenate([x, parameters['class_tokens'][0]])
    for index in range(layers):
        x = block(x, parameters[f'block{index}'], heads)
    x = layer_norm(x, parameters['norm'])
    positions = linear(x[:height * width], parameters['position_project'])
    classes = linear(x[height * width:], parameters['class_project'])
    logits = np.array([[p @ c / np.linalg.norm(p) / np.linalg.norm(c) for c in classes]
                       for p in positions])
    return layer_norm(logits, parameters['class_norm']).reshape(height, width, -1)
