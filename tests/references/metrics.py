"""Scores of a segmentation from sets of pixels, class by class; no confusion matrix."""

import math

import numpy as np


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def per_class(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, classes: int) -> list[dict[str, float]]:
    """The scores of every class by their definitions, NaN where they divide by nothing."""
    labels, predictions, scores = labels[valid], predictions[valid], []
    for c in range(classes):
        truth, guess = labels == c, predictions == c
        both = (truth & guess).sum()
        scores.append({'iou': ratio(both, (truth | guess).sum()), 'accuracy': ratio(both, truth.sum()),
                       'precision': ratio(both, guess.sum()), 'recall': ratio(both, truth.sum()),
                       'dice': ratio(2 * both, truth.sum() + guess.sum())})
    return scores


def summary(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, classes: int) -> dict[str, float]:
    """The means of Long et al. 2015; classes without a score are left out."""
    scores = per_class(labels, predictions, valid, classes)
    labels, predictions = labels[valid], predictions[valid]

    def mean(name: str) -> float:
        return np.mean([score[name] for score in scores if not math.isnan(score[name])])

    weighted = sum((labels == c).mean() * scores[c]['iou'] for c in np.unique(labels))
    return {'miou': mean('iou'), 'pixel_accuracy': (labels == predictions).mean(), 'mean_accuracy': mean('accuracy'),
            'frequency_weighted_iou': weighted}
