"""Normalisation on the device, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data.device_transforms import Normalize

MEAN, STD = (0.5, 0.2), (0.25, 0.1)


@pytest.mark.parametrize('dtype, value_range, pixels', [
    (np.uint8, (0.0, 255.0), [[0, 255], [51, 102]]),
    (np.uint16, (0.0, 65535.0), [[0, 65535], [13107, 26214]]),
    (np.uint16, (1000.0, 2000.0), [[1000, 2000], [1200, 1400]]),
    (np.float32, (-2.0, 3.0), [[-2, 3], [-1, 0]])])
def test_pixels_are_mapped_to_0_to_1_and_normalised(dtype, value_range, pixels):
    # Shares of the range: (0, 1) and (0.2, 0.4); less the mean, over the deviation.
    expected = [[-2.0, 8.0], [-1.2, 2.0]]
    batch = {'image': np.array(pixels, dtype).reshape(1, 2, 1, 2),
             'label': np.zeros((1, 2, 1), np.int32)}
    out = jax.jit(Normalize(MEAN, STD, value_range))(batch, None)
    assert out['image'].dtype == jnp.float32 and out['label'] is not None
    np.testing.assert_allclose(out['image'].reshape(2, 2), expected, atol=1e-5)


def test_values_far_from_zero_keep_their_differences():
    image = np.array([1e6, 1e6 + 1, 1e6 + 2], np.float32).reshape(1, 1, 3, 1)
    out = Normalize((0.0,), (1.0,), (1e6, 1e6 + 2))({'image': image}, None)['image']
    np.testing.assert_allclose(out.ravel(), [0, 0.5, 1], atol=1e-6)
