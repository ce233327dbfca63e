"""The confusion matrix of a data set, and the scores that follow from it."""

import dataclasses
import math

import numpy as np

from jaxseg.metrics.report import (
    check_indices,
    check_shapes,
    json_values,
    mean_of_known,
    text_table,
)


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Confusion:
    """Pixels by true class (rows) and predicted class (columns), int64, with the class names."""

    matrix: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> 'Confusion':
        """Nothing counted yet."""
        return cls(np.zeros((len(classes), len(classes)), np.int64), tuple(classes))

    def count(self, labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray) -> 'Confusion':
        """With the valid pixels of some more images.

        Args:
          labels: class indices of any integer type, any value where not valid.
          predictions: class indices of the same shape.
          valid: bool of the same shape.

        Raises:
          InputError: other shapes, or values that are no classes where valid.
        """
        labels, predictions, valid = map(np.asarray, (labels, predictions, valid))
        check_shapes(labels, predictions, valid)
        classes = len(self.classes)
        # In int64 first: in the 8 bits of a mask the product would overflow from 16 classes on.
        truth, predicted = labels[valid].astype(np.int64), predictions[valid].astype(np.int64)
        check_indices(truth, predicted, classes)
        counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
        return self.add(counts.reshape(classes, classes))

    def add(self, matrix: np.ndarray) -> 'Confusion':
        """With the pixels of another matrix."""
        return dataclasses.replace(self, matrix=self.matrix + np.asarray(matrix).astype(np.int64))

    def merge(self, other: 'Confusion') -> 'Confusion':
        """Both together, such as those of two processes."""
        assert self.classes == other.classes
        return self.add(other.matrix)

    def per_class(self) -> dict[str, np.ndarray]:
        """`{score: (classes,) float64}`, NaN for a class in neither the labels nor the predictions.

        `accuracy` is that of the class's own pixels, which is its recall (the segmentation
        literature uses this name); precision and recall are also NaN where they divide by 0.
        """
        hit = np.diagonal(self.matrix).astype(float)
        truth, predicted = (self.matrix.sum(axis).astype(float) for axis in (1, 0))
        with np.errstate(invalid='ignore'):
            recall = hit / truth
            return {'iou': hit / (truth + predicted - hit), 'accuracy': recall,
                    'precision': hit / predicted, 'recall': recall,
                    'dice': 2 * hit / (truth + predicted)}

    def summary(self) -> dict[str, float]:
        """Mean IoU, pixel accuracy, mean accuracy, frequency-weighted IoU (Long et al. 2015).

        Means are over the classes that have a score; NaN where nothing is counted.
        """
        scores, truth, total = self.per_class(), self.matrix.sum(1), self.matrix.sum()
        share = truth / total if total else np.full(len(truth), math.nan)
        return {'miou': mean_of_known(scores['iou']),
                'pixel_accuracy': float(np.trace(self.matrix) / total) if total else math.nan,
                'mean_accuracy': mean_of_known(scores['accuracy']),
                'frequency_weighted_iou': float((share * np.nan_to_num(scores['iou'])).sum())}

    def json(self) -> dict:
        """Everything as plain values, None for NaN."""
        return {**json_values(self.classes, self.per_class(), self.summary()),
                'confusion_matrix': self.matrix.tolist()}

    def table(self) -> str:
        """All scores as text, in per cent; `pixels` is the share of the class in the labels."""
        share = self.matrix.sum(1) / max(self.matrix.sum(), 1)
        return text_table(self.classes, {**self.per_class(), 'pixels': share}, self.summary())
