"""Scores of outlines: boundary IoU, boundary F, normalised surface distance, Hausdorff distance."""

import dataclasses
import math

import cv2
import numpy as np

from jaxseg.fields import NonNegative, Positive, check_fields
from jaxseg.metrics.report import class_masks, json_values, mean_of_known, text_table

SCORES = ('boundary_f', 'precision', 'recall', 'nsd', 'hd95')


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Boundary:
    """Scores of the outlines of every class.

    The outline of a class are its pixels with a pixel of no such class above, below, left or right
    of them, or at the border of the image (as in MONAI and Matlab's `bfscore`). What lies under
    void is unknown: it belongs to no class, and a pixel beside it is not on the outline for that
    reason. `hidden` tells the share of the outlines of the labels that void conceals; where it is
    large, as in Pascal VOC, whose void covers all outlines, these scores say little.

    - Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): the IoU of the pixels of label and
      prediction within `dilation` of the diagonal of the image (at least 1 pixel, along rows,
      columns and diagonals) of a pixel of no such class. Pixels are added up over all images.
    - Boundary F (Csurka et al. 2013): of the outline of the prediction, the share within
      `tolerance` of the diagonal of that of the label (precision), and the reverse (recall); F is
      their harmonic mean in an image.
    - Normalised surface distance (Nikolov et al. 2018, arXiv:1809.04430): of both outlines together
      the share within `surface_tolerance` pixels of the other.
    - HD95: the 95th percentile of the distances of one outline to the other, in pixels; the larger
      of both directions.

    The last three are means over images: F and NSD over those in which the label or the prediction
    has an outline, 0 where only one of them has; precision and recall over those in which the
    prediction, or the label, has one. HD95 is infinite where only one has, so it is the mean over
    those where both have, and `one_sided` tells the share of images that it leaves out.

    Args:
      regions: pixels in the intersection and in the union of boundary IoU, int64 (classes, 2).
      sums, images: sum over images, and their number, of boundary F, precision, recall, NSD and
        HD95: (classes, 5), float64 and int64.
      outlines: outline pixels of the labels that void conceals, and all of them, int64 (classes,
        2).
      classes: their names.
    """

    regions: np.ndarray
    sums: np.ndarray
    images: np.ndarray
    outlines: np.ndarray
    classes: tuple[str, ...]
    dilation: Positive = 0.02
    tolerance: NonNegative = 0.0075
    surface_tolerance: NonNegative = 2.0

    def __post_init__(self):
        check_fields(self, 'boundary')

    @classmethod
    def empty(cls, classes: tuple[str, ...], **settings: float) -> 'Boundary':
        """Nothing counted yet; `settings` are those that end the fields."""
        pairs = np.zeros((len(classes), 2), np.int64)
        sums = np.zeros((len(classes), len(SCORES)))
        return cls(pairs, sums, sums.astype(np.int64), pairs, tuple(classes), **settings)

    def count(self, labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray) -> 'Boundary':
        """With one more image.

        Args:
          labels: class indices (H, W), or 0 and 1 (H, W, classes); any value where not valid.
          predictions, valid: of the same shape.
        """
        regions, scores, outlines = [], [], []
        diagonal = math.hypot(*np.shape(labels)[:2])
        for truth, guess, known in class_masks(labels, predictions, valid, len(self.classes)):
            bands = [_band(mask, known, max(1, round(self.dilation * diagonal)))
                     for mask in (truth, guess)]
            regions.append([np.count_nonzero(bands[0] & bands[1]),
                            np.count_nonzero(bands[0] | bands[1])])
            lines = [_outline(mask, known) for mask in (truth, guess)]
            scores.append(self._scores(*map(np.argwhere, lines), self.tolerance * diagonal))
            seen, total = np.count_nonzero(lines[0]), np.count_nonzero(_outline(truth, None))
            outlines.append([total - seen, total])
        counted = ~np.isnan(scores)
        return self._add(np.array(regions), np.where(counted, scores, 0), counted,
                         np.array(outlines))

    def _scores(self, truth: np.ndarray, guess: np.ndarray, tolerance: float) -> list[float]:
        """`SCORES` of one class in one image, NaN where there is none.

        Args:
          truth, guess: the pixels of the outlines, (pixels, 2).
        """
        if not len(truth) or not len(guess):
            neither = 0.0 if len(truth) or len(guess) else math.nan
            return [neither, 0.0 if len(guess) else math.nan, 0.0 if len(truth) else math.nan,
                    neither, math.nan]
        from scipy.spatial import KDTree  # only this metric needs it, and it takes a while to start

        to_truth, to_guess = KDTree(truth).query(guess)[0], KDTree(guess).query(truth)[0]
        precision, recall = (np.mean(distances <= tolerance) for distances in (to_truth, to_guess))
        near = np.concatenate([to_truth, to_guess]) <= self.surface_tolerance
        return [2 * precision * recall / max(precision + recall, 1e-30), precision, recall,
                near.mean(), max(np.percentile(to_truth, 95), np.percentile(to_guess, 95))]

    def _add(self, regions: np.ndarray, sums: np.ndarray, images: np.ndarray, outlines: np.ndarray
             ) -> 'Boundary':
        return dataclasses.replace(
            self, regions=self.regions + regions, sums=self.sums + sums,
            images=self.images + images, outlines=self.outlines + outlines)

    def merge(self, other: 'Boundary') -> 'Boundary':
        """Both together, such as those of two processes."""
        assert (self.classes, self._settings) == (other.classes, other._settings)
        return self._add(other.regions, other.sums, other.images, other.outlines)

    @property
    def _settings(self) -> dict[str, float]:
        return {name: getattr(self, name)
                for name in ('dilation', 'tolerance', 'surface_tolerance')}

    def per_class(self) -> dict[str, np.ndarray]:
        """All scores, NaN for a class that has no outline in any image; HD95 in pixels."""
        with np.errstate(invalid='ignore'):
            return {'boundary_iou': self.regions[:, 0] / self.regions[:, 1],
                    **dict(zip(SCORES, (self.sums / self.images).T, strict=True)),
                    'one_sided': 1 - self.images[:, -1] / self.images[:, 0],
                    'hidden': self.outlines[:, 0] / self.outlines[:, 1]}

    def summary(self) -> dict[str, float]:
        """Means over the classes that have a score; NaN where none has."""
        scores = self.per_class()
        return {f'mean_{name}': mean_of_known(scores[name])
                for name in ('boundary_iou', 'boundary_f', 'nsd', 'hd95')}

    def json(self) -> dict:
        """Everything as plain values, None for NaN; `images` are those that have the class."""
        return {**json_values(self.classes, self.per_class(), self.summary()), **self._settings,
                'images': dict(zip(self.classes, self.images[:, 0].tolist(), strict=True))}

    def table(self) -> str:
        """All scores as text, in per cent, HD95 in pixels."""
        return text_table(self.classes, self.per_class(), self.summary(), plain=('hd95',))


def _outline(mask: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """The pixels of a mask beside a known pixel that is not in it, or at the border of the image.

    With None, all pixels are known.
    """
    outside = np.pad(~mask if known is None else ~mask & known, 1, constant_values=True)
    return mask & (outside[2:, 1:-1] | outside[:-2, 1:-1] | outside[1:-1, 2:] | outside[1:-1, :-2])


def _band(mask: np.ndarray, known: np.ndarray, distance: int) -> np.ndarray:
    """The pixels of a mask within a distance of the known pixels outside, or of the border."""
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    inner = cv2.erode((mask | ~known).astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT,
                      borderValue=0)
    return mask & (inner == 0)
