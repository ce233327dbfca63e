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


def _hardest_mean(x, y, fraction, threshold, class_weights):
    """Of pixels of one image; `threshold` is of the probability."""
    losses = np.array([-np.log(softmax(one)[label]) for one, label in zip(x, y, strict=True)])
    weights = np.array([class_weights[label] for label in y])
    order = np.argsort(-losses, kind='stable')
    order = order[weights[order] > 0]
    kept = order[:int(np.ceil(fraction * len(order) - 1e-4))]
    unsure = order[losses[order] > -np.log(threshold)]
    kept = unsure if len(unsure) >= len(kept) else kept
    return (weights[kept] * losses[kept]).sum() / weights[kept].sum()


def topk_cross_entropy(logits, labels, valid, fraction, class_weights):
    return ohem_cross_entropy(logits, labels, valid, 1e-300, fraction, class_weights)


def ohem_cross_entropy(logits, labels, valid, threshold, min_kept, class_weights):
    images = [(x[v], y[v]) for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True)
              if v.any()]
    return sum(_hardest_mean(*image, min_kept, threshold, class_weights)
               for image in images), len(images)


def _boundary_of(p, y, v, limit):
    """Of the probabilities and 0/1 labels (H, W) of one class of one image."""
    total, places = 0.0, np.argwhere(v)
    if len({bool(y[tuple(at)]) for at in places}) < 2:
        return 0.0
    for at in places:
        other = [np.hypot(*(at - place)) for place in places if y[tuple(place)] != y[tuple(at)]]
        total += min(min(other) - 0.5, limit) / limit * abs(p[tuple(at)] - y[tuple(at)])
    return total


def boundary(logits, labels, valid, max_distance):
    total = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        p = softmax(np.where(v[..., None], x, 0))
        total += sum(_boundary_of(p[..., c], y == c, v, max_distance) for c in range(x.shape[-1]))
    return total, valid.sum()


def binary_boundary(logits, labels, valid, max_distance):
    total = 0.0
    for x, y, v in zip(np.asarray(logits, float), labels, valid, strict=True):
        p = sigmoid(np.where(v, x, 0))
        total += sum(_boundary_of(p[..., c], y[..., c], v[..., c], max_distance)
                     for c in range(x.shape[-1]))
    return total, valid.sum()
