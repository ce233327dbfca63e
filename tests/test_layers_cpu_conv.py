"""The forms of a convolution that are fast on CPU against XLA's own."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxseg.layers import cpu_conv
from jaxseg.layers.conv import convolve
from jaxseg.layers.platform import traced_for
from tests.convolutions import assert_equal_vjps, convolutions_of, reference
from tests.selection import default_cases
from tests.variables import random


@pytest.mark.parametrize('features', [24, 64])
@pytest.mark.parametrize('size, window, stride, margins', [
    ((8, 12), 7, 2, (3, 3)), ((9, 7), 7, 2, (3, 3)), ((8, 9), 3, 2, (1, 1)), ((9, 8), 3, 2, (0, 1)),
    ((12, 9), 7, 4, (3, 3)), ((8, 12), 4, 4, (0, 0)), ((7, 8), 2, 3, (2, 1)),
    ((7, 8), 3, 2, (2, 1))])
def test_a_strided_convolution_of_few_channels_equals_that_of_xla(size, window, stride, margins,
                                                                  features):
    assert_equal_vjps(
        *(functools.partial(function, padding=(margins, margins[::-1]), strides=(stride, stride))
          for function in (convolve, reference)),
        random(2, *size, 3), random(window, window, 3, features, seed=1))


def test_a_strided_convolution_of_few_channels_has_no_stride_on_cpu():
    def strides(channels, features):
        function = functools.partial(convolve, padding='SAME', strides=(2, 2))
        found, = convolutions_of(jax.make_jaxpr(function)(
            random(1, 8, 8, channels), random(7, 7, channels, features)).jaxpr)
        return found.params['window_strides']

    assert strides(3, 32) == strides(4, 64) == (1, 1)
    assert strides(5, 32) == strides(3, 16) == (2, 2)  # XLA is fast, and slow in any form


WINDOWS = (
    ((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))), ((3, 3), (2, 2), (1, 1), ((1, 1), (1, 1))),
    ((3, 3), (1, 1), (1, 1), 'VALID'),
    ((3, 3), (1, 1), (2, 3), ((2, 2), (3, 3))), ((2, 2), (1, 1), (1, 1), ((1, 1), (1, 1))),
    ((2, 2), (1, 1), (1, 1), ((0, 1), (0, 1))), ((5, 3), (3, 2), (1, 1), ((0, 2), (2, 0))),
    ((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))), ((1, 3), (1, 1), (1, 1), ((0, 0), (2, 2))),
    ((1, 1), (2, 2), (1, 1), 'VALID'), ((7, 7), (2, 2), (1, 1), 'SAME'),
    ((3, 3), (1, 1), (1, 1), ((1, 1), (-1, 2))))


# Batch and cores: images side by side, strips, or both.
@pytest.mark.parametrize('size, strides, dilation, padding, batch, cores', default_cases(
    [(*window, *split) for window in WINDOWS for split in ((3, 3), (1, 64), (3, 64))],
    [*((*window, 3, 64) for window in WINDOWS),
     *((*window, *split) for window in WINDOWS[:3] for split in ((3, 3), (1, 64)))]))
def test_images_and_strips_side_by_side_do_not_meet(monkeypatch, size, strides, dilation, padding,
                                                    batch, cores):
    monkeypatch.setattr(cpu_conv, 'cores', lambda: cores)
    options = dict(strides=strides, dilation=dilation, padding=padding)
    assert_equal_vjps(functools.partial(convolve, **options),
                      functools.partial(reference, **options),
                      random(batch, 17, 9, 5), random(*size, 5, 20, seed=1))


def test_images_are_side_by_side_where_a_core_would_be_idle(monkeypatch):
    def shape(width, features, cores, batch=3):
        monkeypatch.setattr(cpu_conv, 'cores', lambda: cores)
        function = functools.partial(convolve, padding='SAME')
        found, = convolutions_of(jax.make_jaxpr(function)(
            jnp.zeros((batch, 8, width, 4)), jnp.zeros((3, 3, 4, features))).jaxpr)
        return found.invars[0].aval.shape[:3]

    assert shape(64, 64, cores=1) == (3, 8, 64)
    assert shape(64, 64, cores=3) == (1, 8, 3 * 65)
    assert shape(64, 64, cores=4) == (1, 4 + 2, 6 * 65)  # two strips of an image, with a margin
    assert shape(64, 64, cores=2, batch=1) == (1, 4 + 2, 2 * 65)
    assert shape(128, 32, cores=2) == (1, 8, 3 * 129)
    assert shape(64, 128, cores=2) == (3, 8, 64)
    assert shape(8, 128, cores=2) == (3, 8, 8)
    assert shape(128, 64, cores=2) == (3, 8, 128)
    assert shape(64, 16, cores=2) == (3, 8, 64)  # XLA has another program
    with traced_for('cpu'):  # of another machine, with cores of its own
        assert shape(64, 64, cores=3) == (3, 8, 64)
