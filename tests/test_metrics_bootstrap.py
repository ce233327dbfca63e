"""Paired bootstrap intervals against exact values and a slow reference."""

import collections
import fractions
import itertools

import numpy as np
import pytest

from jaxseg.metrics.bootstrap import Interval, compare, iou_of, mean_known

RNG = np.random.default_rng(0)


def random_counts(images=12, runs=3, classes=4):
    """Counts with the same labels in every run."""
    pixels = RNG.integers(0, 50, (images, 1, classes))
    tp = RNG.integers(0, pixels + 1, (images, runs, classes))
    return np.stack([tp, RNG.integers(0, 30, (images, runs, classes)), pixels - tp], 2)


def test_scores_come_from_summed_counts_and_classes_that_do_not_occur_from_nothing():
    counts = np.array([[[[3, 0], [1, 0], [0, 0]]], [[[1, 0], [1, 0], [2, 0]]]])
    found = compare(counts, resamples=100)
    assert found.iou.value[0, 0] == 4 / 8 and found.miou.value[0] == 4 / 8
    assert np.isnan([found.iou.value[0, 1], found.iou.low[0, 1], found.iou.p[0, 1]]).all()


def test_runs_that_are_equal_differ_by_exactly_nothing():
    counts = random_counts(runs=1)
    found = compare(np.repeat(counts, 2, 1), resamples=200)
    for interval in (found.miou_difference, found.iou_difference):
        assert not np.any([interval.value, interval.low, interval.high])
        np.testing.assert_array_equal(interval.p, 1)


def test_a_run_that_is_better_on_every_image_is_better_on_every_resample():
    counts = np.repeat(random_counts(runs=1) + 1, 2, 1)
    counts[:, 1, 0] += counts[:, 1, 2]
    counts[:, 1, 2] = 0
    found = compare(counts, resamples=200)
    assert (found.iou_difference.low > 0).all() and (found.iou_difference.p == 2 / 201).all()


def test_two_images_have_the_intervals_of_their_four_resamples():
    # IoU 1 and 0 of one class: resamples give 0, 1/2 (twice) and 1 with shares 1/4, 1/2, 1/4.
    counts = np.array([[[[1], [0], [0]]], [[[0], [0], [1]]]])
    counts = np.concatenate([counts * 0 + [[[0], [0], [1]]], counts], 1)
    found = compare(counts, resamples=20_000, level=0.4)
    assert (found.miou_difference.value, found.miou_difference.low, found.miou_difference.high) == (
        0.5, 0.5, 0.5)
    assert found.miou_difference.p == pytest.approx(2 * 1 / 4, abs=0.02)
    wide = compare(counts, resamples=20_000, level=0.6).miou_difference
    assert (wide.low, wide.high) == (0, 1)


def exact_quantiles(counts, level):
    """All resamples with their shares, by a loop: of the mIoU difference of the second run."""
    images, shares = len(counts), collections.Counter()
    for drawn in itertools.product(range(images), repeat=images):
        total = sum(counts[index] for index in drawn)
        scores = []
        for run in total:
            ious = [fractions.Fraction(int(tp), int(tp + fp + fn)) for tp, fp, fn in run.T
                    if tp + fp + fn]
            scores.append(sum(ious) / len(ious))
        shares[float(scores[1] - scores[0])] += 1
    values = np.repeat(list(shares), list(shares.values()))
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2])


def test_the_interval_is_that_of_all_resamples():
    counts = random_counts(images=5, runs=2, classes=3)
    found = compare(counts, resamples=40_000, level=0.9).miou_difference
    np.testing.assert_allclose([found.low[0], found.high[0]], exact_quantiles(counts, 0.9),
                               atol=0.005)


def test_groups_are_drawn_as_one():
    counts = random_counts(images=6)
    groups = ['b', 'a', 'a', 'b', 'c', 'c']
    merged = np.stack([counts[1] + counts[2], counts[0] + counts[3], counts[4] + counts[5]])
    one, other = compare(counts, groups=groups, resamples=300), compare(merged, resamples=300)
    np.testing.assert_array_equal(one.iou.low, other.iou.low)
    np.testing.assert_array_equal(one.miou.value, other.miou.value)
    single = compare(counts, groups=list('abcdef'), resamples=300)
    np.testing.assert_array_equal(single.iou.low, compare(counts, resamples=300).iou.low)


def test_resamples_depend_on_the_seed_alone_and_not_on_chunks(monkeypatch):
    counts = random_counts()
    whole = compare(counts, resamples=500).iou.low
    assert (compare(counts, resamples=500, seed=1).iou.low != whole).any()
    monkeypatch.setattr('jaxseg.metrics.bootstrap.CHUNK_BYTES', 8 * 12 * 7)
    np.testing.assert_array_equal(compare(counts, resamples=500).iou.low, whole)


def test_unknown_values_are_left_out_of_means_and_intervals():
    np.testing.assert_array_equal(mean_known(np.array([[1, np.nan, 3], [np.nan] * 3])), [2, np.nan])
    np.testing.assert_array_equal(iou_of([[[1, 0], [1, 0], [2, 0]]]), [[0.25, np.nan]])
    resampled = np.array([0.0, np.nan, 1.0, 0.5, 0.5, 0.5])[:, None]
    found = Interval.of(np.array([0.5]), resampled, 1.0)
    # One of five known resamples is at or below zero.
    assert (found.low[0], found.high[0], found.p[0]) == (0, 1, 2 * (1 + 1) / (1 + 5))
