"""The synthetic shapes: determined by their seed, balanced, and not given away by color."""

import numpy as np
import pytest

from jaxseg.data.synthetic import CLASSES, Shapes
from jaxseg.errors import InputError


def test_shapes_depend_on_seed_split_and_index_only():
    first, again = Shapes(seed=3).source('train'), Shapes(seed=3).source('train')
    for key in ('image', 'mask'):
        np.testing.assert_array_equal(first[7][key], again[7][key])
    others = [Shapes(seed=4).source('train')[7], Shapes(seed=3).source('val')[7], first[8]]
    assert all((other['image'] != first[7]['image']).any() for other in others)
    with pytest.raises(IndexError):
        first[len(first)]


def test_shapes_come_in_any_size_with_every_class():
    source = Shapes(size=(50, 70), samples={'train': 60}).source('train')
    assert source[0]['image'].shape == (50, 70, 3) and source[0]['mask'].shape == (50, 70)
    counts = sum(np.bincount(source[i]['mask'].ravel(), minlength=len(CLASSES)) for i in range(60))
    assert (counts > 0.02 * counts.sum()).all()
    with pytest.raises(InputError, match="no split 'dev'; known: train"):
        Shapes(samples={'train': 60}).source('dev')
    with pytest.raises(InputError, match='data.size'):
        Shapes(size=(8, 8)).source('train')


def test_color_does_not_give_the_shape_away():
    """The mean color of each class over many pictures is that of every other class."""
    source = Shapes(samples={'train': 200}).source('train')
    samples = [source[i] for i in range(200)]
    pixels, masks = (np.stack([sample[key] for sample in samples]) for key in ('image', 'mask'))
    means = np.stack([pixels[masks == label].mean(0) for label in range(1, len(CLASSES))])
    assert np.ptp(means, axis=0).max() < 30
