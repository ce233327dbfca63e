"""Metrics equal those of MONAI and scikit-image on the same masks and probabilities."""

import importlib.util

import numpy as np
import pytest

from jaxseg.metrics.boundary import Boundary
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.objects import Objects
from tests.metric_examples import example, names

PEERS = ('monai', 'torch', 'skimage')
CLASSES = 3  # the fourth class of the examples, which is no label, makes MONAI warn
# Their own deprecations are not ours.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings('ignore'), pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PEERS),
    reason=f'needs {", ".join(PEERS)}')]


@pytest.fixture(params=range(3))
def image(request):
    """Labels, predictions and probabilities (H, W, classes) without void."""
    return [array[..., :CLASSES] for array in example(True, request.param, (60, 80))[:3]]


def batch(array: np.ndarray):
    """(H, W, classes) -> a tensor (1, classes, H, W)."""
    import torch

    return torch.from_numpy(np.moveaxis(array, -1, 0)[None].astype(np.float32))


@pytest.mark.parametrize('tolerance', [0.0, 1.0, 2.5])
def test_surface_distance_and_hausdorff_distance_equal_those_of_monai(image, tolerance):
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    labels, predictions = image[0], np.roll(image[1], 4, 1)
    state = Boundary.empty(names(CLASSES), surface_tolerance=tolerance)
    found = state.count(labels, predictions, labels >= 0).per_class()
    one, other = batch(predictions), batch(labels)
    nsd = compute_surface_dice(one, other, CLASSES * [tolerance], include_background=True)
    np.testing.assert_allclose(found['nsd'], nsd.numpy()[0], rtol=1e-6)
    hd95 = compute_hausdorff_distance(one, other, include_background=True, percentile=95)
    np.testing.assert_allclose(found['hd95'], hd95.numpy()[0], rtol=1e-6)
    assert found['hd95'].max() > 3


def test_outlines_equal_those_of_scikit_image(image):
    from skimage.segmentation import find_boundaries

    labels, predictions, _ = image
    state = Boundary.empty(names(CLASSES)).count(labels, predictions, labels >= 0)
    for k in range(CLASSES):
        padded = np.pad(labels[..., k], 1)  # at the border of the image there is an outline here
        expected = find_boundaries(padded, connectivity=1, mode='inner')
        assert state.outlines[k].tolist() == [0, expected.sum()]


def test_panoptic_quality_equals_that_of_monai_and_components_those_of_scikit_image(image):
    import torch
    from monai.metrics.panoptic_quality import compute_panoptic_quality
    from skimage.measure import label

    labels, predictions, _ = image
    found = Objects.empty(names(CLASSES)).count(labels, predictions, labels >= 0)
    for k in range(CLASSES):
        truth, guess = (label(x[..., k], connectivity=2) for x in (labels, predictions))
        expected = compute_panoptic_quality(torch.from_numpy(guess), torch.from_numpy(truth),
                                            output_confusion_matrix=True)
        np.testing.assert_allclose(found.matches[k], expected.numpy(), rtol=1e-6)
        assert found.sizes[k, :, 0].sum() == truth.max() > 2


def test_reliability_equals_that_of_monai(image):
    from monai.metrics.calibration import calibration_binning

    labels, _, probabilities = image
    found = Calibration.empty(names(CLASSES)).count(labels, probabilities, labels >= 0)
    confidence, frequency, pixels = (array.numpy()[0] for array in calibration_binning(
        batch(probabilities), batch(labels), num_bins=15))
    reliability = found.class_reliability()
    np.testing.assert_array_equal(reliability['pixels'], pixels)
    np.testing.assert_allclose(reliability['confidence'], confidence, rtol=1e-5)
    np.testing.assert_allclose(reliability['frequency'], frequency, rtol=1e-5)
