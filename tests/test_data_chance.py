"""What augmentation on the device draws: as often as stated, and numbers that are independent."""

import jax
import numpy as np
import pytest

from jaxseg.data.device_color import ColorJitter, Noise
from jaxseg.data.device_geometry import Affine, Elastic, Flip
from jaxseg.data.device_mixing import ClassMix
from tests.batches import CLASSES, COLOR, RANGE, keys, samples

QUARTER = {
    'left-right': Flip(0.25), 'top-bottom': Flip(0.0, 0.25),
    'affine': Affine(2.0, 2.0, p=0.25, **COLOR), 'elastic': Elastic(3.0, 4.0, 0.25, **COLOR),
    'noise': Noise(0.2, 0.25, **RANGE), 'classmix': ClassMix(0.25, CLASSES)}


def test_as_many_images_are_changed_as_p_says():
    before = samples(200, 5, 6)
    after = jax.jit(lambda *sample: {name: each(*sample)[0] for name, each in QUARTER.items()})(
        *before, keys(200))
    for name, images in after.items():
        changed = (np.abs(images - before[0]) > 1e-3).any((1, 2, 3))
        assert 30 < changed.sum() < 70, name  # three standard deviations about 50


def test_brightness_and_contrast_are_drawn_apart():
    # Two greys about the mean of 100: brightness b and contrast c make them 100 (1 + b), and the
    # difference of 40 larger by (1 + b) (1 + c).
    images = np.broadcast_to(np.array([80, 120], np.float32).reshape(1, 1, 2, 1), (50, 1, 2, 1))
    label = np.zeros((50, 1, 2), np.int32)
    jitter = ColorJitter(0.2, 0.2, 0.0, p=1.0, mean=(0.5,), **RANGE)
    found = np.asarray(jax.jit(jitter.__call__)(images, label, label == 0, keys(50))[0])[:, 0, :, 0]
    brightness = found.mean(1) / 100 - 1
    contrast = (found[:, 1] - found[:, 0]) / 40 / (1 + brightness) - 1
    for factor in (brightness, contrast):
        assert factor.min() == pytest.approx(-0.2, abs=0.04)
        assert factor.max() == pytest.approx(0.2, abs=0.04)
    assert abs(np.corrcoef(brightness, contrast)[0, 1]) < 0.5
