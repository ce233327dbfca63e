"""Shared by the metrics: masks of classes, and scores and their means, as JSON and as a table."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from jaxseg.errors import InputError, printable


def check_shapes(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray,
                 classes: int | None = None):
    """Raises InputError unless the shapes are equal, with `classes` in the last axis if given."""
    if not labels.shape == predictions.shape == valid.shape:
        raise InputError(f'metrics: labels {labels.shape}, predictions {predictions.shape} and '
                         f'valid {valid.shape}; give arrays of one shape')
    if classes is not None:
        check_classes(labels, classes)


def check_classes(values: np.ndarray, classes: int):
    """Raises InputError unless the last axis has `classes`."""
    if values.shape[-1:] != (classes,):
        raise InputError(f'metrics: an array {values.shape} for {classes} classes; give one value '
                         f'a class in the last axis')


def check_probabilities(labels: np.ndarray, probabilities: np.ndarray, valid: np.ndarray,
                        classes: int):
    """Raises InputError unless there is one probability a class for every label."""
    check_classes(probabilities, classes)
    known = (probabilities.shape, probabilities.shape[:-1])
    if labels.shape not in known or valid.shape != labels.shape:
        raise InputError(f'metrics: labels {labels.shape} and valid {valid.shape} for '
                         f'probabilities {probabilities.shape}; give both of one of the shapes '
                         f'{known}')


def check_indices(labels: np.ndarray, predictions: np.ndarray, classes: int):
    """Raises InputError unless the labels and predictions of valid pixels are classes."""
    for name, values in (('label', labels), ('prediction', predictions)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise unknown_value(name, values, f'{classes} classes')


def unknown_value(name: str, values: np.ndarray, known: str) -> InputError:
    """The error on labels or predictions of valid pixels that are none of the known values."""
    return InputError(f'metrics: a {name} is none of {known} ({values.min()} to {values.max()}); '
                      f'where void has a value of its own, set valid = labels != void')


def class_masks(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, classes: int
                ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The label, the prediction and the valid pixels of every class, bool (H, W).

    Pixels that are not valid are in neither label nor prediction.

    Args:
      labels, predictions: of one image: class indices (H, W), or 0 and 1 (H, W, classes).
      valid: bool of the same shape.
    """
    labels, predictions, valid = map(np.asarray, (labels, predictions, valid))
    if labels.ndim not in (2, 3):
        raise InputError(f'metrics: labels {labels.shape}; give one image at a time, (H, W) or '
                         f'(H, W, classes)')
    check_shapes(labels, predictions, valid, classes if labels.ndim == 3 else None)
    if labels.ndim == 2:
        yield from (((labels == k) & valid, (predictions == k) & valid, valid)
                    for k in range(classes))
        return
    for k in range(classes):
        known = valid[..., k]
        yield (labels[..., k] == 1) & known, (predictions[..., k] == 1) & known, known


def mean_of_known(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def json_values(classes: Sequence[str], per_class: Mapping[str, np.ndarray],
                summary: Mapping[str, float]) -> dict:
    """The summary, then `classes: {name: {score: value}}`; None for NaN."""
    def value_or_none(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return {**{name: value_or_none(value) for name, value in summary.items()},
            'classes': {
                name: {score: value_or_none(values[i]) for score, values in per_class.items()}
                for i, name in enumerate(classes)}}


def text_table(classes: Sequence[str], per_class: Mapping[str, np.ndarray],
               summary: Mapping[str, float], plain: Collection[str] = ()) -> str:
    """One line per class with its scores in per cent, then the summary.

    Args:
      plain: names of the scores that are no shares, such as distances in pixels.
    """
    classes = [printable(name) for name in classes]
    width = max(map(len, ('class', *classes)))
    columns = {score: (max(9, len(score)), values if score in plain else 100 * values)
               for score, values in per_class.items()}
    lines = [' '.join([f'{"class":{width}}',
                       *(f'{score:>{wide}}' for score, (wide, _) in columns.items())])]
    for i, name in enumerate(classes):
        lines.append(' '.join([f'{name:{width}}',
                               *(f'{values[i]:{wide}.1f}' for wide, values in columns.values())]))
    lines += ['', *(f'{name.replace("_", " ")}: {value:.4f}' for name, value in summary.items())]
    return '\n'.join(lines)
