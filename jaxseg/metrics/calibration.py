"""Calibration: whether of the pixels with a probability of 0.8, four in five are right."""

import dataclasses

import numpy as np

from jaxseg.metrics.report import (
    check_probabilities,
    json_values,
    mean_of_known,
    text_table,
)

BINS = 15  # as in Guo et al. 2017


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Calibration:
    """Pixels by predicted probability, in bins of equal width.

    The expected calibration error (ECE) is the mean over all pixels of the distance between mean
    probability and frequency of their bin: `sum_b n_b / n |confidence_b - accuracy_b|`. `overall`
    is that of the most probable class of each pixel (Guo et al. 2017, arXiv:1706.04599); with
    overlapping masks, that of the probabilities of all classes together. `by_class` takes the
    probability of one class at all pixels; the mean of these errors is the classwise ECE (Kull et
    al. 2019, arXiv:1910.12656). The bins are [0, 1/bins), ..., [1 - 1/bins, 1].

    Args:
      overall: number of pixels, sum of their probabilities and number of those that are right in
        every bin, float64 (bins, 3).
      by_class: the same for the probability of each class, (classes, bins, 3).
      occurs: whether a label or a prediction has the class, bool (classes,).
      classes: their names.
    """

    overall: np.ndarray
    by_class: np.ndarray
    occurs: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...], bins: int = BINS) -> 'Calibration':
        """Nothing counted yet."""
        return cls(np.zeros((bins, 3)), np.zeros((len(classes), bins, 3)),
                   np.zeros(len(classes), bool), tuple(classes))

    def count(self, labels: np.ndarray, probabilities: np.ndarray, valid: np.ndarray
              ) -> 'Calibration':
        """With the valid pixels of some more images.

        Args:
          labels: class indices (...), or 0 and 1 (..., classes); any value where not valid.
          probabilities: (..., classes); any value, NaN too, where not valid.
          valid: bool of the shape of the labels.
        """
        labels, probabilities, valid = map(np.asarray, (labels, probabilities, valid))
        check_probabilities(labels, probabilities, valid, len(self.classes))
        if labels.shape != probabilities.shape:
            return self._count_indices(labels[valid], probabilities, valid)
        bins, occurs = [], []
        for k in range(len(self.classes)):
            known = valid[..., k]
            right, values = labels[..., k][known] == 1, probabilities[..., k][known]
            bins.append(self._binned(values, right))
            occurs.append(right.any() or (values > 0.5).any())
        return self._add(np.sum(bins, 0), np.array(bins), np.array(occurs))

    def _count_indices(self, truth: np.ndarray, probabilities: np.ndarray, valid: np.ndarray
                       ) -> 'Calibration':
        """With pixels of one class each: the indices of the valid ones."""
        top, confidence = np.zeros(len(truth), np.int64), np.full(len(truth), -np.inf)
        bins, classes = [], np.arange(len(self.classes))
        for k in classes:  # one at a time, so that no second array of all classes is made
            values = probabilities[..., k][valid]
            bins.append(self._binned(values, truth == k))
            top[values > confidence] = k
            np.maximum(confidence, values, out=confidence)
        return self._add(self._binned(confidence, truth == top), np.array(bins),
                         np.isin(classes, truth) | np.isin(classes, top))

    def _binned(self, probabilities: np.ndarray, right: np.ndarray) -> np.ndarray:
        bins = len(self.overall)
        assert not probabilities.size or 0 <= probabilities.min() <= probabilities.max() < 1.001
        index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
        return np.stack([np.bincount(index, minlength=bins),
                         np.bincount(index, probabilities, minlength=bins),
                         np.bincount(index[right], minlength=bins)], -1)

    def _add(self, overall: np.ndarray, by_class: np.ndarray, occurs: np.ndarray) -> 'Calibration':
        return dataclasses.replace(self, overall=self.overall + overall,
                                   by_class=self.by_class + by_class, occurs=self.occurs | occurs)

    def merge(self, other: 'Calibration') -> 'Calibration':
        """Both together, such as those of two processes."""
        assert self.classes == other.classes
        return self._add(other.overall, other.by_class, other.occurs)

    def reliability(self) -> dict[str, np.ndarray]:
        """Pixels, mean probability and accuracy of every bin, (bins,); NaN for an empty one."""
        return _reliability(self.overall, 'accuracy')

    def class_reliability(self) -> dict[str, np.ndarray]:
        """The same of every class, (classes, bins); `frequency` is the share with its label."""
        return _reliability(self.by_class, 'frequency')

    def per_class(self) -> dict[str, np.ndarray]:
        """ECE, mean probability and frequency of each class, NaN for a class that never occurs.

        A class occurs if a label has it or if it is the most probable one of a pixel; with
        overlapping masks, if its probability is above one half.
        """
        pixels, probability, right = np.moveaxis(self.by_class.sum(1), -1, 0)
        with np.errstate(invalid='ignore'):
            scores = {'ece': _ece(self.by_class), 'confidence': probability / pixels,
                      'frequency': right / pixels}
        return {name: np.where(self.occurs, values, np.nan) for name, values in scores.items()}

    def summary(self) -> dict[str, float]:
        """ECE, classwise ECE, and the mean probability beside the accuracy; NaN without pixels.

        A model whose mean probability is above its accuracy is overconfident.
        """
        pixels, probability, right = self.overall.sum(0)
        with np.errstate(invalid='ignore'):
            return {'ece': float(_ece(self.overall)),
                    'classwise_ece': mean_of_known(self.per_class()['ece']),
                    'confidence': float(probability / pixels), 'accuracy': float(right / pixels)}

    def json(self) -> dict:
        """Everything as plain values, None for NaN; `reliability` holds a list a column."""
        return {**json_values(self.classes, self.per_class(), self.summary()),
                'reliability': _lists(self.reliability()),
                'class_reliability': {
                    name: _lists({key: values[k] for key, values
                                  in self.class_reliability().items()})
                    for k, name in enumerate(self.classes)}}

    def table(self) -> str:
        """The scores of the classes in per cent, and the reliability of every bin with pixels."""
        edges = np.linspace(0, 1, len(self.overall) + 1)
        pixels, confidence, accuracy = self.reliability().values()
        lines = [f'{edges[i]:.2f} to {edges[i + 1]:.2f}: confidence {confidence[i]:.3f}, '
                 f'accuracy {accuracy[i]:.3f}, {100 * pixels[i] / pixels.sum():.1f} % of the pixels'
                 for i in range(len(pixels)) if pixels[i]]
        return '\n'.join([text_table(self.classes, self.per_class(), self.summary()), *lines])


def _reliability(bins: np.ndarray, name: str) -> dict[str, np.ndarray]:
    pixels, probability, right = np.moveaxis(bins, -1, 0)
    with np.errstate(invalid='ignore'):
        return {'pixels': pixels, 'confidence': probability / pixels, name: right / pixels}


def _ece(bins: np.ndarray) -> np.ndarray:
    """(..., bins, 3) -> (...), NaN without pixels."""
    pixels, probability, right = np.moveaxis(bins, -1, 0)
    with np.errstate(invalid='ignore'):
        return np.abs(probability - right).sum(-1) / pixels.sum(-1)


def _lists(columns: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    return {name: [None if np.isnan(value) else float(value) for value in values]
            for name, values in columns.items()}
