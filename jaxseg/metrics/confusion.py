"""The confusion matrix of a data set, and all that is computed from it."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

SCORES = ('iou', 'accuracy', 'precision', 'recall', 'dice')


def confusion_counts(labels: jax.Array, predictions: jax.Array, valid: jax.Array, classes: int) -> jax.Array:
    """Pixels of a batch by true class (rows) and predicted class (columns): (classes, classes) int32.

    Exact up to 2**31 pixels a batch; `Confusion` adds batches in int64. All arguments have the same shape; labels may
    hold anything where not valid, and be of any integer type.
    """
    # Void goes to a bin of its own behind the others, which is dropped.
    # In int32 first: in the 8 bits of a stored mask the product wraps around from 16 classes on.
    index = jnp.where(valid, labels.astype(jnp.int32) * classes + predictions.astype(jnp.int32), classes * classes)
    return jnp.bincount(index.reshape(-1), length=classes * classes + 1)[:-1].reshape(classes, classes)


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Confusion:
    """Pixels by true class (rows) and predicted class (columns), int64, with the names of the classes."""

    matrix: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> 'Confusion':
        """Nothing counted yet."""
        return cls(np.zeros((len(classes), len(classes)), np.int64), tuple(classes))

    def add(self, counts: np.ndarray) -> 'Confusion':
        """With the counts of one more batch."""
        return dataclasses.replace(self, matrix=self.matrix + np.asarray(counts).astype(np.int64))

    def merge(self, other: 'Confusion') -> 'Confusion':
        """Both together, such as those of two processes."""
        return self.add(other.matrix)

    def per_class(self) -> dict[str, np.ndarray]:
        """`{score: (classes,) float64}`; NaN for a class that occurs neither in the truth nor in the prediction.

        `accuracy` is that of the class's own pixels, which is its recall (the name that the segmentation literature gives it);
        precision and recall are NaN too where they divide by nothing.
        """
        hit = np.diagonal(self.matrix).astype(float)
        truth, predicted = self.matrix.sum(1).astype(float), self.matrix.sum(0).astype(float)
        with np.errstate(invalid='ignore'):
            recall = hit / truth
            return {'iou': hit / (truth + predicted - hit), 'accuracy': recall, 'precision': hit / predicted,
                    'recall': recall, 'dice': 2 * hit / (truth + predicted)}

    def summary(self) -> dict[str, float]:
        """Mean IoU, pixel accuracy, mean accuracy, frequency-weighted IoU (Long et al. 2015); NaN where nothing is counted."""
        scores, truth, total = self.per_class(), self.matrix.sum(1), self.matrix.sum()
        if not total:
            return dict.fromkeys(('miou', 'pixel_accuracy', 'mean_accuracy', 'frequency_weighted_iou'), math.nan)
        weighted = np.where(truth > 0, truth * np.nan_to_num(scores['iou']), 0).sum() / total
        return {'miou': float(np.nanmean(scores['iou'])), 'pixel_accuracy': float(np.trace(self.matrix) / total),
                'mean_accuracy': float(np.nanmean(scores['accuracy'])), 'frequency_weighted_iou': float(weighted)}

    def json(self) -> dict:
        """Everything as plain values, None for NaN."""
        def clean(value: float) -> float | None:
            return None if math.isnan(value) else float(value)

        scores = self.per_class()
        return {**{name: clean(value) for name, value in self.summary().items()},
                'classes': {name: {score: clean(scores[score][i]) for score in SCORES}
                            for i, name in enumerate(self.classes)},
                'confusion_matrix': self.matrix.tolist()}

    def table(self) -> str:
        """All scores as text, in per cent."""
        width = max(map(len, ('class', *self.classes)))
        scores, share = self.per_class(), self.matrix.sum(1) / max(self.matrix.sum(), 1)
        lines = [' '.join([f'{"class":{width}}', *(f'{score:>9}' for score in (*SCORES, 'pixels'))])]
        for i, name in enumerate(self.classes):
            values = [scores[score][i] for score in SCORES] + [share[i]]
            lines.append(' '.join([f'{name:{width}}', *(f'{100 * value:9.1f}' for value in values)]))
        summary = self.summary().items()
        return '\n'.join(lines + [''] + [f'{name.replace("_", " ")}: {value:.4f}' for name, value in summary])
