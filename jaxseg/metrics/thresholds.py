"""Scores over the threshold from which on a class is predicted, and the best threshold."""

import dataclasses

import numpy as np

from jaxseg.metrics.report import (
    check_probabilities,
    json_values,
    mean_of_known,
    text_table,
)

THRESHOLDS = 99  # 0.01 to 0.99


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Thresholds:
    """Pixels by label and predicted probability of every class, each against all others.

    A class is predicted where its probability is above the threshold. For tasks that decide each
    class by itself: overlapping masks, or two classes. A threshold that is chosen on a split scores
    too well on that split: choose it on validation data.

    Args:
      counts: pixels without and with the label between neighbouring thresholds, int64 (classes,
        thresholds + 1, 2).
      classes: their names.
    """

    counts: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...], thresholds: int = THRESHOLDS) -> 'Thresholds':
        """Nothing counted yet."""
        return cls(np.zeros((len(classes), thresholds + 1, 2), np.int64), tuple(classes))

    @property
    def thresholds(self) -> np.ndarray:
        """Evenly spaced between 0 and 1, (thresholds,) float32."""
        # In float32, as probabilities are compared with a task's own threshold.
        intervals = self.counts.shape[1]
        return (np.arange(1, intervals) / intervals).astype(np.float32)

    def count(self, labels: np.ndarray, probabilities: np.ndarray, valid: np.ndarray
              ) -> 'Thresholds':
        """With the valid pixels of some more images.

        Args:
          labels: class indices (...), or 0 and 1 (..., classes); any value where not valid.
          probabilities: (..., classes); any value, NaN too, where not valid.
          valid: bool of the shape of the labels.
        """
        labels, probabilities, valid = map(np.asarray, (labels, probabilities, valid))
        check_probabilities(labels, probabilities, valid, len(self.classes))
        counts = []
        for k in range(len(self.classes)):
            if labels.shape == probabilities.shape:
                known, positive = valid[..., k], labels[..., k] == 1
            else:
                known, positive = valid, labels == k
            values = probabilities[..., k][known]
            assert not np.isnan(values).any()
            above = np.searchsorted(self.thresholds, values)  # number of thresholds below a value
            index = 2 * above + positive[known]
            counts.append(np.bincount(index, minlength=self.counts[k].size).reshape(-1, 2))
        return self._add(np.array(counts))

    def _add(self, counts: np.ndarray) -> 'Thresholds':
        return dataclasses.replace(self, counts=self.counts + counts)

    def merge(self, other: 'Thresholds') -> 'Thresholds':
        """Both together, such as those of two processes."""
        assert self.classes == other.classes
        return self._add(other.counts)

    def curves(self) -> dict[str, np.ndarray]:
        """IoU, Dice (the F1 of pixels), precision, recall: (classes, thresholds), NaN for 0/0."""
        # Pixels above each threshold: those of all higher intervals.
        fp, tp = np.moveaxis(self.counts[:, ::-1].cumsum(1)[:, -2::-1], -1, 0).astype(float)
        fn = self.counts[..., 1].sum(1, keepdims=True) - tp
        with np.errstate(invalid='ignore'):
            return {'iou': tp / (tp + fp + fn), 'dice': 2 * tp / (2 * tp + fp + fn),
                    'precision': tp / (tp + fp), 'recall': tp / (tp + fn)}

    def best(self) -> np.ndarray:
        """The index of the threshold with the highest IoU, which has the highest Dice, too.

        Of equal ones it is that nearest to one half.
        """
        iou = np.nan_to_num(self.curves()['iou'])
        distance = np.abs(self.thresholds - 0.5)
        return np.array([np.lexsort((distance, -row))[0] for row in iou], int)

    def per_class(self) -> dict[str, np.ndarray]:
        """The best threshold and the scores there, NaN without a label of the class.

        `iou_at_half` is the IoU at the threshold nearest to one half, NaN for a class in neither
        labels nor predictions.
        """
        curves, best = self.curves(), self.best()
        chosen = {'threshold': self.thresholds[best].astype(float), **{
            name: values[np.arange(len(best)), best] for name, values in curves.items()}}
        has_label = self.counts[..., 1].any(1)
        half = np.abs(self.thresholds - 0.5).argmin()
        return {**{name: np.where(has_label, values, np.nan) for name, values in chosen.items()},
                'iou_at_half': curves['iou'][:, half]}

    def summary(self) -> dict[str, float]:
        """Mean IoU at the best threshold of each class, and at one half; NaN without classes."""
        scores = self.per_class()
        return {'best_miou': mean_of_known(scores['iou']),
                'miou_at_half': mean_of_known(scores['iou_at_half'])}

    def json(self) -> dict:
        """Everything as plain values, None for NaN; `curves` has a list for every score."""
        curves = {name: {score: [None if np.isnan(value) else float(value) for value in values[k]]
                         for score, values in self.curves().items()}
                  for k, name in enumerate(self.classes)}
        return {**json_values(self.classes, self.per_class(), self.summary()),
                'thresholds': [round(float(value), 6) for value in self.thresholds],
                'curves': curves}

    def table(self) -> str:
        """The best threshold of every class and the scores there, in per cent."""
        return text_table(self.classes, self.per_class(), self.summary())
