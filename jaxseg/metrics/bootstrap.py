"""Differences between runs on the same images, with paired bootstrap intervals over images."""

import dataclasses
from collections.abc import Sequence

import numpy as np

# Resamples whose weights are held at a time: bounds the memory with many images.
CHUNK_BYTES = 64 * 2 ** 20


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class Interval:
    """A score, its percentile interval over resamples, and a two-sided p-value of zero.

    Arrays of one shape. The p-value is `2 (1 + n) / (1 + R)`, at most 1, of R resamples, n of them
    at or below zero, or at or above it if these are fewer (Davison & Hinkley 1997, chapter 4;
    Phipson & Smyth 2010). It is never 0: R resamples show no p-value below `2 / (1 + R)`.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray

    @classmethod
    def of(cls, value: np.ndarray, resampled: np.ndarray, level: float) -> 'Interval':
        """From (...) and (resamples, ...); NaN where no resample has a value."""
        flat = resampled.reshape(len(resampled), -1)
        found = np.full((3, flat.shape[1]), np.nan)
        for index, column in enumerate(flat.T):
            known = column[~np.isnan(column)]
            if known.size:
                beyond = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
                found[:, index] = [*np.quantile(known, [(1 - level) / 2, (1 + level) / 2]),
                                   min(1, 2 * (1 + beyond) / (1 + known.size))]
        return cls(value, *found.reshape(3, *np.shape(value)))


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The scores of runs on the same images, and their differences to the first run.

    Attributes:
      miou: (runs,).
      iou: (runs, classes).
      miou_difference: (runs - 1,), each of the other runs minus the first.
      iou_difference: (runs - 1, classes).
    """

    miou: Interval
    iou: Interval
    miou_difference: Interval
    iou_difference: Interval


def compare(counts: np.ndarray, *, groups: Sequence[str] | None = None, resamples: int = 10_000,
            level: float = 0.95, seed: int = 0) -> Comparison:
    """The paired bootstrap (Efron & Tibshirani 1993, chapter 13) over images.

    Every resample draws as many images as there are, with replacement and the same for all runs;
    IoU and mIoU come from the summed counts of the resample, as those of the data set do from all.

    Args:
      counts: (images, runs, 3, classes) int, `tp`, `fp` and `fn`.
      groups: the group of every image, such as its video: whole groups are drawn then, as images
        of one group are not independent.
      resamples: their number.
      level: share of the resamples that lie in the interval.
      seed: of the resamples.
    """
    counts = np.asarray(counts, np.int64)
    if groups is not None:
        _, place = np.unique(np.asarray(groups), return_inverse=True)
        grouped = np.zeros((place.max() + 1, *counts.shape[1:]), np.int64)
        np.add.at(grouped, place, counts)
        counts = grouped
    iou, resampled = iou_of(counts.sum(0)), _resampled(counts, resamples, seed)
    miou, resampled_miou = mean_known(iou), mean_known(resampled)
    return Comparison(
        Interval.of(miou, resampled_miou, level), Interval.of(iou, resampled, level),
        Interval.of(miou[1:] - miou[0], resampled_miou[:, 1:] - resampled_miou[:, :1], level),
        Interval.of(iou[1:] - iou[0], resampled[:, 1:] - resampled[:, :1], level))


def iou_of(counts: np.ndarray) -> np.ndarray:
    """(..., 3, classes) -> (..., classes) float64, NaN for a class that does not occur."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, float), -2, 0)
    with np.errstate(invalid='ignore'):
        return tp / (tp + fp + fn)


def mean_known(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN, NaN where there is nothing else."""
    known = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(known, values, 0).sum(-1) / known.sum(-1)


def _resampled(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The IoU of every resample, (resamples, runs, classes)."""
    images, flat = len(counts), counts.reshape(len(counts), -1).astype(float)
    rng, found = np.random.default_rng(seed), []
    chunk = max(1, CHUNK_BYTES // (8 * images))
    for first in range(0, resamples, chunk):
        # How often each image is drawn. Products of integers in float64 are exact below 2**53.
        drawn = rng.multinomial(images, np.full(images, 1 / images),
                                min(chunk, resamples - first)).astype(float)
        found.append(iou_of((drawn @ flat).reshape(-1, *counts.shape[1:])))
    return np.concatenate(found)
