"""Losses pixel by pixel, in float64."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(logits, labels, valid, class_weights, smoothing):
    total = count = 0.0
    for x, y in zip(np.asarray(logits, float)[valid], labels[valid], strict=True):
        surprise = -np.log(softmax(x))
        total += class_weights[y] * ((1 - smoothing) * surprise[y] + smoothing * surprise.mean())
        count += class_weights[y]
    return total, count


def focal(logits, labels, valid, gamma, class_weights):
    total = count = 0.0
    for x, y in zip(np.asarray(logits, float)[valid], labels[valid], strict=True):
        p = softmax(x)[y]
        total += class_weights[y] * -(1 - p) ** gamma * np.log(p)
        count += class_weights[y]
    return total, count


def dice(logits, labels, valid, smooth):
    total = count = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        if not v.any():
            continue
        p, y = softmax(x[v]), y[v]
        losses = [1 - (2 * p[y == c, c].sum() + smooth) / (p[:, c].sum() + (y == c).sum() + smooth) for c in np.unique(y)]
        total, count = total + np.mean(losses), count + 1
    return total, count


def lovasz_softmax(logits, labels, valid):
    """The Lovász extension by its definition: errors, downwards, times the growth of the loss of the set so far."""
    total = count = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        if not v.any():
            continue
        p, y, losses = softmax(x[v]), y[v], []
        for c in np.unique(y):
            truth = y == c
            errors = np.where(truth, 1 - p[:, c], p[:, c])
            value = before = 0.0
            wrong = np.zeros(len(y), bool)
            for i in np.argsort(-errors, kind='stable'):
                wrong[i] = True
                # Prediction = truth with the wrong pixels turned over.
                predicted = truth ^ wrong
                jaccard = 1 - (truth & predicted).sum() / (truth | predicted).sum()
                value, before = value + errors[i] * (jaccard - before), jaccard
            losses.append(value)
        total, count = total + np.mean(losses), count + 1
    return total, count
