"""Counts of right and wrong pixels for every class by itself, and the scores that follow."""

import dataclasses

import numpy as np

from jaxseg.metrics.report import (
    check_shapes,
    json_values,
    mean_of_known,
    text_table,
    unknown_value,
)


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class BinaryCounts:
    """A 2x2 confusion matrix for every class, for masks that may overlap.

    `counts[k, t, p]` (classes, 2, 2) int64 is the number of pixels with label t and prediction p of
    class k: true negatives [0, 0], false positives [0, 1], false negatives [1, 0], true positives
    [1, 1].
    """

    counts: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> 'BinaryCounts':
        """Nothing counted yet."""
        return cls(np.zeros((len(classes), 2, 2), np.int64), tuple(classes))

    def count(self, labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray
              ) -> 'BinaryCounts':
        """With the valid pixels of some more images.

        Args:
          labels: (..., classes), 0 or 1, any value where not valid.
          predictions: (..., classes), 0 or 1.
          valid: (..., classes) bool.

        Raises:
          InputError: other shapes, or values that are neither 0 nor 1 where valid.
        """
        labels, predictions, valid = map(np.asarray, (labels, predictions, valid))
        check_shapes(labels, predictions, valid, len(self.classes))
        # Class by class: numpy reduces over all axes but the last several times more slowly.
        counts = [_count(labels[..., k], predictions[..., k], valid[..., k])
                  for k in range(len(self.classes))]
        return self.add(np.array(counts))

    def add(self, counts: np.ndarray) -> 'BinaryCounts':
        """With the pixels of other counts."""
        return dataclasses.replace(self, counts=self.counts + np.asarray(counts).astype(np.int64))

    def merge(self, other: 'BinaryCounts') -> 'BinaryCounts':
        """Both together, such as those of two processes."""
        assert self.classes == other.classes
        return self.add(other.counts)

    def per_class(self) -> dict[str, np.ndarray]:
        """`{score: (classes,) float64}`, NaN for a class in neither the labels nor the predictions.

        `accuracy` is the share of all valid pixels that are right; precision and recall are also
        NaN where they divide by 0.
        """
        (tn, fp), (fn, tp) = np.moveaxis(self.counts, 0, -1).astype(float)
        occurs = tp + fp + fn > 0
        with np.errstate(invalid='ignore'):
            return {'iou': tp / (tp + fp + fn),
                    'accuracy': np.where(occurs, (tp + tn) / (tp + fp + fn + tn), np.nan),
                    'precision': tp / (tp + fp), 'recall': tp / (tp + fn),
                    'dice': 2 * tp / (2 * tp + fp + fn)}

    def summary(self) -> dict[str, float]:
        """Means over the classes that have a score; NaN where none has."""
        scores = self.per_class()
        return {'miou': mean_of_known(scores['iou']),
                **{f'mean_{name}': mean_of_known(scores[name])
                   for name in ('dice', 'precision', 'recall', 'accuracy')}}

    def json(self) -> dict:
        """Everything as plain values, None for NaN; counts as `[[tn, fp], [fn, tp]]` per class."""
        return {**json_values(self.classes, self.per_class(), self.summary()),
                'counts': self.counts.tolist()}

    def table(self) -> str:
        """All scores as text, in per cent; `pixels` is the share of positive labels."""
        share = self.counts[:, 1].sum(-1) / np.maximum(self.counts.sum((1, 2)), 1)
        return text_table(self.classes, {**self.per_class(), 'pixels': share}, self.summary())


def _count(labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray) -> list[list[int]]:
    """`[[tn, fp], [fn, tp]]` of one class."""
    positive, predicted = (labels == 1) & valid, (predictions == 1) & valid
    for name, values, ones in (('label', labels, positive), ('prediction', predictions, predicted)):
        if ((values != 0) & valid & ~ones).any():
            raise unknown_value(name, values[valid], '0 and 1')
    both, truth, guess, total = map(np.count_nonzero, (
        positive & predicted, positive, predicted, valid))
    return [[total - truth - guess + both, guess - both], [truth - both, both]]
