"""Scores of objects, which are the connected components of each class: PQ, AP50, recall by size."""

import dataclasses
import math

import numpy as np

from jaxseg.metrics.report import class_masks, json_values, mean_of_known, text_table

# Pixels of an object from which on the next interval of sizes begins; COCO's small objects end at
# 32**2 pixels.
SIZES = (0, 8 ** 2, 16 ** 2, 32 ** 2, 64 ** 2, 128 ** 2)
LEVELS = 1000  # of the scores of AP50: bounds the memory of all predicted objects
EIGHT = np.ones((3, 3), int)  # pixels that touch at a corner belong together


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Objects:
    """Connected components of labels and predictions, matched where their IoU is above one half.

    Components of one class do not overlap, so that each matches one other at most (Kirillov et al.
    2019, arXiv:1801.00868): true positives; what has no match is a false positive or a false
    negative. `PQ = sum of IoUs / (tp + fp/2 + fn/2)`, the product of the mean IoU of the matches
    (`sq`) and their F1 (`rq`). AP50 is the area under the curve of precision over recall when
    predictions are accepted in the order of their mean probability, in steps of 1/1000, and
    precision is made to fall (as in Pascal VOC from 2010 on).

    Void cuts objects: pixels under void belong to none. A predicted object without a match, beside
    areas of void that are larger than itself, could lie in void for the most part, and is no false
    positive. The panoptic API looks at the prediction under void for that, of which no score here
    depends.

    Args:
      matches: true positives, false positives, false negatives and the sum of the IoUs of the true
        positives, float64 (classes, 4).
      sizes: objects in the labels, those with a match, their pixels, and those predicted as the
        class, by `SIZES`: int64 (classes, sizes, 4).
      detections: false and true positives by mean probability, int64 (classes, LEVELS, 2).
      truths: objects in the labels of images with probabilities, int64 (classes,).
      classes: their names.
    """

    matches: np.ndarray
    sizes: np.ndarray
    detections: np.ndarray
    truths: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> 'Objects':
        """Nothing counted yet."""
        number = len(classes)
        return cls(np.zeros((number, 4)), np.zeros((number, len(SIZES), 4), np.int64),
                   np.zeros((number, LEVELS, 2), np.int64), np.zeros(number, np.int64),
                   tuple(classes))

    def count(self, labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray,
              probabilities: np.ndarray | None = None) -> 'Objects':
        """With one more image.

        Args:
          labels: class indices (H, W), or 0 and 1 (H, W, classes); any value where not valid.
          predictions, valid: of the same shape.
          probabilities: (H, W, classes), any value where not valid; without them AP50 leaves out
            the image.
        """
        added, void, of_void = Objects.empty(self.classes), None, None
        for k, (truth, guess, known) in enumerate(
                class_masks(labels, predictions, valid, len(self.classes))):
            if known is not of_void:  # with class indices it is the same for all classes
                void, of_void = _Void(known), known
            pair = _Components(truth, guess)
            false = ~pair.matched & ~void.may_hide(pair.guess, pair.guess_areas)
            hits = np.count_nonzero(pair.matched)
            added.matches[k] = hits, np.count_nonzero(false), len(pair.found) - hits, pair.iou_sum
            added.sizes[k] = pair.by_size()
            if probabilities is not None:
                level = pair.levels(probabilities[..., k])
                added.detections[k] = np.stack([np.bincount(level[chosen], minlength=LEVELS)
                                                for chosen in (false, pair.matched)], -1)
                added.truths[k] = len(pair.found)
        return self.merge(added)

    def merge(self, other: 'Objects') -> 'Objects':
        """Both together, such as those of two processes."""
        assert self.classes == other.classes
        return dataclasses.replace(self, **{
            name: getattr(self, name) + getattr(other, name)
            for name in ('matches', 'sizes', 'detections', 'truths')})

    def per_class(self) -> dict[str, np.ndarray]:
        """All scores, NaN for a class without objects in labels and predictions.

        `sq` is also NaN without a match, `recall` without an object in the labels; both recalls are
        those of all sizes. `objects` is the number of those in the labels.
        """
        tp, fp, fn, iou = self.matches.T
        total = self.sizes.sum(1)
        with np.errstate(invalid='ignore'):
            whole = tp + fp / 2 + fn / 2
            return {'pq': iou / whole, 'sq': iou / tp, 'rq': tp / whole,
                    'ap50': np.array([_average_precision(detections, truths) for detections, truths
                                      in zip(self.detections, self.truths, strict=True)]),
                    'recall': total[:, 1] / total[:, 0], 'pixel_recall': total[:, 3] / total[:, 2],
                    'objects': total[:, 0].astype(float)}

    def summary(self) -> dict[str, float]:
        """Means over the classes that have a score; NaN where none has."""
        scores = self.per_class()
        return {f'mean_{name}': mean_of_known(scores[name]) for name in ('pq', 'sq', 'rq', 'ap50')}

    def recall_by_size(self) -> dict[str, np.ndarray]:
        """Objects, the share of them with a match, and the share of their pixels that are found.

        Each (classes, sizes), NaN without objects; sizes are the intervals of `SIZES`.
        """
        objects, matched, pixels, found = np.moveaxis(self.sizes, -1, 0)
        with np.errstate(invalid='ignore'):
            return {'objects': objects, 'recall': matched / objects, 'pixel_recall': found / pixels}

    def json(self) -> dict:
        """Everything as plain values, None for NaN; `sizes` are the smallest areas in pixels."""
        by_size = {name: {score: [None if math.isnan(value) else float(value)
                                  for value in values[k]]
                          for score, values in self.recall_by_size().items()}
                   for k, name in enumerate(self.classes)}
        return {**json_values(self.classes, self.per_class(), self.summary()),
                'sizes': list(SIZES), 'recall_by_size': by_size}

    def table(self) -> str:
        """All scores as text, in per cent, and the recall of all classes by size."""
        objects, matched, pixels, found = self.sizes.sum(0).T
        lines = [f'objects from {size} pixels: {100 * matched[i] / objects[i]:.1f} % found, '
                 f'{100 * found[i] / pixels[i]:.1f} % of their pixels, {objects[i]} objects'
                 for i, size in enumerate(SIZES) if objects[i]]
        scores = text_table(self.classes, self.per_class(), self.summary(), plain=('objects',))
        return '\n'.join([scores, *lines])


class _Components:
    """The components of the label and the prediction of one class in one image, matched.

    `found` and `matched` tell of each component of the label, and of the prediction, whether it has
    a match; `guess` is the index of the predicted component of each pixel from 1 on, 0 outside.
    """

    def __init__(self, truth: np.ndarray, guess: np.ndarray):
        from scipy import ndimage  # only these metrics need it, and it takes a while to start

        index, count = ndimage.label(truth, EIGHT)
        self.guess, guesses = ndimage.label(guess, EIGHT)
        self.areas = np.bincount(index[truth], minlength=count + 1)[1:]
        self.guess_areas = np.bincount(self.guess[guess], minlength=guesses + 1)[1:]
        self._covered = np.bincount(index[guess], minlength=count + 1)[1:]
        both = truth & guess
        # As one integer a pair; a table of all pairs could be as large as pixels squared.
        pairs, overlap = np.unique((index[both] - 1).astype(np.int64) * max(guesses, 1)
                                   + self.guess[both] - 1, return_counts=True)
        one, other = np.divmod(pairs, max(guesses, 1))
        union = self.areas[one] + self.guess_areas[other] - overlap
        match = 2 * overlap > union
        self.found, self.matched = np.zeros(count, bool), np.zeros(guesses, bool)
        self.found[one[match]], self.matched[other[match]] = True, True
        self.iou_sum = float((overlap[match] / union[match]).sum())

    def by_size(self) -> np.ndarray:
        """Objects, matched ones, pixels and covered pixels, int64 (sizes, 4)."""
        bin_of = np.searchsorted(SIZES, self.areas, side='right') - 1
        return np.stack([np.bincount(bin_of, weights, minlength=len(SIZES)).astype(np.int64)
                         for weights in (None, self.found, self.areas, self._covered)], -1)

    def levels(self, probabilities: np.ndarray) -> np.ndarray:
        """The mean probability (H, W) of every predicted component, as one of LEVELS."""
        inside = self.guess > 0
        sums = np.bincount(self.guess[inside], probabilities[inside],
                           minlength=len(self.guess_areas) + 1)[1:]
        return np.clip(sums / self.guess_areas * LEVELS, 0, LEVELS - 1).astype(np.int64)


class _Void:
    """The connected areas of void of one image, and the pixels that touch them."""

    def __init__(self, known: np.ndarray):
        from scipy import ndimage

        index, count = ndimage.label(~known, EIGHT)
        self._areas = np.bincount(index[~known], minlength=count + 1)
        self._beside = ndimage.binary_dilation(~known, EIGHT) & known if count else ~known
        rows, columns = np.nonzero(self._beside)
        padded = np.pad(index, 1)
        self._touched = np.stack([padded[rows + i, columns + j]
                                  for i in range(3) for j in range(3)], -1)

    def may_hide(self, components: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """Whether the areas of void that a component touches are larger than it, (components,)."""
        beside = components[self._beside]
        pairs = beside[:, None].astype(np.int64) * len(self._areas) + self._touched
        touching = (beside[:, None] > 0) & (self._touched > 0)
        component, void = np.divmod(np.unique(pairs[touching]), len(self._areas))
        sums = np.bincount(component, self._areas[void], minlength=len(areas) + 1)[1:]
        return sums > areas


def _average_precision(detections: np.ndarray, truths: int) -> float:
    """From (levels, 2) false and true positives; NaN without any object."""
    fp, tp = detections[::-1].cumsum(0).T
    if not truths:
        return 0.0 if fp[-1] else math.nan
    accepted = tp + fp > 0
    precision = tp[accepted] / (tp + fp)[accepted]
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(tp[accepted], prepend=0) / truths * falling).sum())
