"""Sines of positions against their formula."""

import numpy as np
import pytest

from jaxseg.layers.position import sine_2d


@pytest.mark.parametrize('height, width, channels', [(3, 4, 8), (5, 2, 7), (1, 1, 1), (2, 3, 2)])
def test_a_position_is_the_sine_of_its_row_then_the_sine_of_its_column(height, width, channels):
    out = np.asarray(sine_2d(height, width, channels))
    assert out.shape == (height, width, channels)
    half = -(-channels // 2)
    for i, j, c in np.ndindex(*out.shape):
        where, index, size = (i, c, half) if c < half else (j, c - half, channels - half)
        angle = where / 10_000 ** (index // 2 / -(-size // 2))
        assert abs(out[i, j, c] - (np.cos(angle) if index % 2 else np.sin(angle))) < 1e-6


def test_positions_differ_from_each_other():
    out = np.asarray(sine_2d(12, 15, 16)).reshape(-1, 16)
    distances = np.abs(out[:, None] - out[None]).max(-1) + 10 * np.eye(len(out))
    assert distances.min() > 0.01

