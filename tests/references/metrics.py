"""Scores of a segmentation from sets of pixels, class by class; no confusion matrix."""

import math

import numpy as np


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def scores_of(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """The scores of two sets of pixels by their definitions, NaN where they divide by nothing."""
    both = (truth & guess).sum()
    return {'iou': ratio(both, (truth | guess).sum()), 'accuracy': ratio(both, truth.sum()),
            'precision': ratio(both, guess.sum()), 'recall': ratio(both, truth.sum()),
            'dice': ratio(2 * both, truth.sum() + guess.sum())}


def mean(scores: list[dict[str, float]], name: str) -> float:
    """Over the classes that have this score."""
    known = [score[name] for score in scores if not math.isnan(score[name])]
    return np.mean(known) if known else math.nan


def per_class(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, classes: int
              ) -> list[dict[str, float]]:
    """The scores of every class index."""
    labels, predictions = labels[valid], predictions[valid]
    return [scores_of(labels == c, predictions == c) for c in range(classes)]


def summary(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, classes: int
            ) -> dict[str, float]:
    """The means of Long et al. 2015; classes without a score are left out."""
    scores = per_class(labels, predictions, valid, classes)
    labels, predictions = labels[valid], predictions[valid]
    weighted = sum((labels == c).mean() * scores[c]['iou'] for c in np.unique(labels))
    return {'miou': mean(scores, 'iou'), 'pixel_accuracy': (labels == predictions).mean(),
            'mean_accuracy': mean(scores, 'accuracy'), 'frequency_weighted_iou': weighted}


def per_binary_class(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray
                     ) -> list[dict[str, float]]:
    """The scores of overlapping masks (..., classes); accuracy is that of all valid pixels."""
    scores = []
    for k in range(labels.shape[-1]):
        truth, guess = (x[..., k][valid[..., k]] == 1 for x in (labels, predictions))
        accuracy = (truth == guess).mean() if (truth | guess).any() else math.nan
        scores.append({**scores_of(truth, guess), 'accuracy': accuracy})
    return scores


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int) -> float:
    """The expected calibration error, pixel by pixel."""
    inside = [[] for _ in range(bins)]
    for probability, hit in zip(probabilities.tolist(), right.tolist(), strict=True):
        inside[min(int(probability * bins), bins - 1)].append((probability, hit))
    gaps = [abs(np.mean([p for p, _ in pairs]) - np.mean([hit for _, hit in pairs])) * len(pairs)
            for pairs in inside if pairs]
    return sum(gaps) / len(probabilities)
