"""The synthetic data set needs outlines, not colors; inspection and pipeline refuse bad data."""

import itertools

import numpy as np
import pytest

from jaxseg.data.pipeline import eval_samples, train_batches
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.synthetic import CLASSES, Shapes
from jaxseg.data.transforms import RandomCrop
from jaxseg.errors import InputError


class Even:
    """Six pictures whose masks hold one value."""

    def __init__(self, value):
        self.value = value

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return {'image': np.zeros((8, 10, 3), np.uint8),
                'mask': np.full((8, 10), self.value, np.uint8), 'name': f'p{i}'}


class Broken(Even):
    """Files that cannot be read."""

    def __getitem__(self, i):
        raise InputError(f'p{i}.png: truncated; save it again')


def spec(**options):
    return DatasetSpec('toys', ('a', 'b', 'c'), mean=(0.5,) * 3, std=(0.25,) * 3, **options)


def test_a_table_of_colors_learns_next_to_nothing():
    """The best class of each of 512 colors, counted on 150 pictures, scored on 50 others."""
    dataset, votes, confusion = Shapes(size=(48, 64)), np.zeros((512, 5)), np.zeros((5, 5))
    bins = [(sample['mask'].ravel(), (sample['image'] >> 5).reshape(-1, 3) @ np.array([64, 8, 1]))
            for split, count in (('train', 150), ('test', 50))
            for sample in map(dataset.source(split).__getitem__, range(count))]
    for mask, color in bins[:150]:
        np.add.at(votes, (color, mask), 1)
    for mask, color in bins[150:]:
        np.add.at(confusion, (mask, (votes / np.maximum(votes.sum(0), 1)).argmax(1)[color]), 1)
    hits = np.diag(confusion)
    assert (hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean() < 0.25


def test_names_and_masks_are_those_of_the_split():
    sample = Shapes().source('test')[12]
    assert sample['name'] == 'test_000012'
    assert sample['image'].dtype == sample['mask'].dtype == np.uint8
    assert sample['mask'].max() < len(CLASSES)


@pytest.mark.parametrize('options, key, value', [
    ({'samples': {'train': 4, 'valid': 3}}, 'data.samples', "'valid'; known: train, val, test"),
    ({'samples': {'train': -4}}, 'data.samples', '-4'), ({'seed': -1}, 'data.seed', '-1'),
    ({'size': (8, 64)}, 'data.size', '8'), ({'size': (64,)}, 'data.size', '64'),
    ({'overlapping': 1}, 'data.overlapping', '1')])
def test_options_of_the_shapes_that_cannot_be_are_refused(options, key, value):
    with pytest.raises(InputError) as error:
        Shapes(**options)
    assert str(error.value).startswith(key) and value in str(error.value)


def test_overlapping_masks_show_whole_shapes_of_the_same_pictures():
    plain, overlapping = (Shapes(overlapping=either) for either in (False, True))
    assert overlapping.spec.classes == plain.spec.classes[1:]
    assert overlapping.spec.colors == plain.spec.colors[1:]
    assert overlapping.spec.overlapping and not plain.spec.overlapping
    hidden = 0
    for index in range(30):
        one, other = plain.source('train')[index], overlapping.source('train')[index]
        np.testing.assert_array_equal(one['image'], other['image'])
        masks = other['mask']
        assert masks.shape == (64, 96, 4) and masks.dtype == np.uint8 and masks.max() == 1
        # What is visible belongs to its class, background to none, and what is covered to several.
        visible = np.eye(5, dtype=np.uint8)[one['mask']][..., 1:]
        assert (masks >= visible).all()
        np.testing.assert_array_equal(masks.any(-1), one['mask'] > 0)
        hidden += int((masks > visible).sum())
    assert hidden > 100


def test_a_void_label_that_masks_cannot_hold_is_refused():
    """Padding would turn into label 255 and count as known."""
    with pytest.raises(InputError, match='ignore_index 300 does not fit into the uint8 mask of p'):
        next(train_batches(Even(0), spec=spec(ignore_index=300),
                           transforms=(RandomCrop((20, 20)),), batch_size=2, seed=0))
    with pytest.raises(InputError, match='ignore_index 300 does not fit'):
        next(eval_samples(Even(0), spec=spec(ignore_index=300)))
    for never in (-1, 65536):
        with pytest.raises(InputError, match=f'ignore_index: {never} is out of range'):
            spec(ignore_index=never)


@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_file_keeps_its_one_line_on_the_way_through_grain(workers):
    with pytest.raises(InputError) as raised:
        list(itertools.islice(train_batches(Broken(0), spec=spec(), transforms=(), batch_size=2,
                                            seed=0, workers=workers), 1))
    message = str(raised.value)
    assert message.endswith('.png: truncated; save it again') and '\n' not in message
    with pytest.raises(InputError, match='^p0.png: truncated; save it again$'):
        next(eval_samples(Broken(0), spec=spec()))
