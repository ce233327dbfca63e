"""The scores of a model on a data set."""

from collections.abc import Callable, Iterable
from typing import Any


def evaluate(predictions: Callable[[Iterable[tuple[Any, Any]]], Iterable[tuple[Any, Any]]],
             samples: Iterable[dict], scores: Any, should_stop: Callable[[], bool] = lambda: False,
             observe: Callable[[dict, Any], None] = lambda sample, prediction: None) -> Any | None:
    """Counts every pixel of every sample once.

    Args:
      predictions: `(key, image)` pairs -> `(key, prediction)` pairs in any order, at the images'
        own sizes.
      samples: dicts with `image`, `label` and `valid`.
      scores: a metric state with `count(labels, predictions, valid)`, which returns the state with
        these pixels added.
      observe: called with every sample and its prediction.
      should_stop: called once for every image; True ends the evaluation.

    Returns:
      The metric state, or None when it was stopped.
    """
    for sample, prediction in predictions((sample, sample['image']) for sample in samples):
        if should_stop():
            return None
        observe(sample, prediction)
        scores = scores.count(sample['label'], prediction, sample['valid'])
    return scores
