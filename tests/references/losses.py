"""Losses pixel by pixel, in float64."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def cross_entropy(logits, labels, valid, class_weights, label_smoothing):
    total = count = 0.0
    for x, y in zip(np.asarray(logits, float)[valid], labels[valid], strict=True):
        nll = -np.log(softmax(x))
        smoothed = (1 - label_smoothing) * nll[y] + label_smoothing * nll.mean()
        total, count = total + class_weights[y] * smoothed, count + class_weights[y]
    return total, count


def focal(logits, labels, valid, gamma, class_weights):
    total = count = 0.0
    for x, y in zip(np.asarray(logits, float)[valid], labels[valid], strict=True):
        p = softmax(x)[y]
        total += class_weights[y] * -(1 - p) ** gamma * np.log(p)
        count += class_weights[y]
    return total, count


def dice_of(p, y, smooth):
    """Of the probabilities and 0/1 labels of one class."""
    return 1 - (2 * p[y == 1].sum() + smooth) / (p.sum() + y.sum() + smooth)


def dice(logits, labels, valid, smooth):
    total = count = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        if v.any():
            p, y = softmax(x[v]), y[v]
            total += np.mean([dice_of(p[:, c], y == c, smooth) for c in np.unique(y)])
            count += 1
    return total, count


def lovasz_softmax(logits, labels, valid):
    """By its definition: sorted errors times the increase of the loss of the set so far."""
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
                # The prediction is the truth with the wrong pixels inverted.
                predicted = truth ^ wrong
                jaccard = 1 - (truth & predicted).sum() / (truth | predicted).sum()
                value, before = value + errors[i] * (jaccard - before), jaccard
            losses.append(value)
        total, count = total + np.mean(losses), count + 1
    return total, count


def binary_cross_entropy(logits, labels, valid, pos_weight):
    total = count = 0.0
    for index in zip(*np.nonzero(valid), strict=True):
        p = sigmoid(float(logits[index]))
        total += -pos_weight[index[-1]] * np.log(p) if labels[index] else -np.log(1 - p)
        count += 1
    return total, count


def binary_focal(logits, labels, valid, gamma, alpha):
    total = count = 0.0
    for index in zip(*np.nonzero(valid), strict=True):
        p = sigmoid(float(logits[index]))
        q, a = (p, alpha) if labels[index] else (1 - p, 1 - alpha)
        total, count = total - a * (1 - q) ** gamma * np.log(q), count + 1
    return total, count


def binary_dice(logits, labels, valid, smooth):
    total = count = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        for k in range(x.shape[-1]):
            p, truth = sigmoid(x[..., k][v[..., k]]), y[..., k][v[..., k]]
            if truth.any():
                total, count = total + dice_of(p, truth, smooth), count + 1
    return total, count
