"""The scores of a model on a data set."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from jaxseg.processes import gathered


def evaluate(predictions: Callable[[Iterable[tuple[Any, Any]]], Iterable[tuple[Any, Any]]],
             samples: Iterable[dict], scores: Any, should_stop: Callable[[], bool] = lambda: False,
             observe: Callable[[dict, Any], None] = lambda sample, prediction: None) -> Any | None:
    """Counts every pixel of every sample once, those of all processes together.

    Args:
      predictions: `(key, image)` pairs -> `(key, prediction)` pairs in any order, at the images'
        own sizes.
      samples: dicts with `image`, `label` and `valid`, in each process others.
      scores: a metric state with `count(labels, predictions, valid)`, which returns the state with
        these pixels added, and `merge(other)`.
      observe: called with every sample and its prediction.
      should_stop: called once for every image; True ends the evaluation in all processes.

    Returns:
      The metric state, or None when it was stopped.
    """
    for sample, prediction in predictions((sample, sample['image']) for sample in samples):
        if should_stop():
            scores = None
            break
        observe(sample, prediction)
        scores = scores.count(sample['label'], prediction, sample['valid'])
    parts = gathered(scores)
    return None if None in parts else functools.reduce(lambda one, other: one.merge(other), parts)
