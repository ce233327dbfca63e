"""Folds: hand-worked assignments, each sample once in validation, what stays together."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from jaxseg.build import build
from jaxseg.data import folds
from jaxseg.data.folder import Folder
from jaxseg.data.folds import Fold, balanced, blocks, natural, stratified
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.splits import check_source, sample_mask, sample_names, split_identity
from jaxseg.errors import InputError
from tests.runs import write_folder


@dataclasses.dataclass
class Named:
    """A data set of given names, whose masks show the classes of `shown`."""

    names: dict
    shown: dict = dataclasses.field(default_factory=dict)
    overlapping: bool = False

    @property
    def spec(self):
        return DatasetSpec('named', ('a', 'b', 'c'), splits=tuple(self.names),
                           overlapping=self.overlapping)

    def source(self, split):
        return [{'name': name, 'image': np.zeros((1, 3, 3), np.uint8), 'mask': self._mask(name)}
                for name in self.names[split]]

    def _mask(self, name):
        classes = self.shown.get(name, [])
        if self.overlapping:
            return np.isin(range(3), classes).astype(np.uint8)[None, None]
        return np.resize(np.array([*classes, 255], np.uint8), (1, len(classes) + 1))


def test_the_largest_groups_go_first_and_each_to_the_smallest_fold():
    groups = list('daabbcaabc')  # 4 a, 3 b, 2 c, 1 d: a | b, c, then d to the fold of 4
    np.testing.assert_array_equal(balanced(groups, 2, 0), [0, 0, 0, 1, 1, 1, 0, 0, 1, 1])


def test_single_samples_are_dealt_evenly_whatever_their_order():
    names = [f'image{index}' for index in range(17)]
    found = dict(zip(names, balanced(names, 5, 3), strict=True))
    assert sorted(collections.Counter(found.values()).values()) == [3, 3, 3, 4, 4]
    assert found == dict(zip(names[::-1], balanced(names[::-1], 5, 3), strict=True))
    assert list(found.values()) != balanced(names, 5, 4).tolist()


def test_a_video_is_cut_into_contiguous_blocks_in_the_order_of_its_numbers():
    names = ['f10', 'f9', 'f2', 'f1', 'f011', 'f3']
    np.testing.assert_array_equal(blocks(names, [''] * 6, 3), [2, 1, 0, 0, 2, 1])


def test_longer_blocks_go_to_the_folds_that_have_less():
    names = [*(f'a{i}' for i in range(4)), *(f'b{i}' for i in range(5))]
    found = blocks(names, [name[0] for name in names], 3)
    np.testing.assert_array_equal(found, [0, 0, 1, 2, 0, 1, 1, 2, 2])


def test_names_are_sorted_with_numbers_by_their_value():
    names = ['10', '9', 'a', 'a10b2', 'a10b10', 'a9', 'b', 'a09c', '']
    assert sorted(names, key=natural) == ['', '9', '10', 'a', 'a9', 'a09c', 'a10b2', 'a10b10', 'b']


def test_every_fold_gets_its_share_of_a_rare_class():
    # The rare class is dealt first, then the common one to whoever lacks more of it.
    shown = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0]], bool)
    found = stratified(list('abcdefgh'), shown, 2, 0)
    for rows in ([2, 3], [0, 1, 2, 3, 4, 5], range(8)):
        assert collections.Counter(found[rows].tolist()) == {0: len(rows) / 2, 1: len(rows) / 2}


def test_problems_of_what_is_pooled_are_those_of_training(tmp_path):
    write_folder(tmp_path)
    (tmp_path / 'val/masks/1.png').unlink()
    data = Folder(str(tmp_path))
    assert Fold(data).problems('train') == data.problems('val') != []
    assert not Fold(data).problems('val') and not Fold(data, pooled=['train']).problems('train')
    assert not Fold(Named({'train': 'ab', 'val': 'c'})).problems('train')
    # What pairs can be read in spite of them.
    fold = Fold(data)
    with pytest.raises(InputError, match='images have no mask'):
        fold.source('val')
    assert len(fold.paired('train')) + len(fold.paired('val')) == 7


class Checked(list):
    """A source without files that states sizes and masks, and can check itself."""

    def __init__(self, names, height, broken=''):
        super().__init__({'name': name, 'image': np.zeros((height, 2, 3), np.uint8),
                          'mask': np.zeros((height, 2), np.uint8)} for name in names)
        self.height, self.broken, self.names = height, broken, tuple(names)

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if sample['name'] == self.broken:
            raise InputError(f'{self.broken} is broken')
        return sample

    def sizes(self):
        return {(self.height, 2)}

    def mask(self, index):
        return np.full((self.height, 2), index)

    def check_files(self):
        raise AssertionError('samples of other folds, too')


def test_samples_of_several_sources_keep_what_these_can_do():
    data = Named({'train': 'abc', 'val': 'd'})
    data.source = {'train': Checked('abc', 4), 'val': Checked('d', 5, broken='d')}.__getitem__
    whole = Fold(data, None, 2).source('train')
    assert whole.sizes() == {(4, 2), (5, 2)}
    assert [sample_mask(whole, index).max() for index in range(4)] == [0, 1, 2, 0]
    refused = set()
    for fold, split in itertools.product(range(2), ('train', 'val')):
        try:
            check_source(Fold(data, fold, 2), split)
        except InputError as error:
            assert str(error) == 'd is broken'
            refused.add(split)
    assert refused == {'train', 'val'}  # of one fold each
    plain = Fold(Named({'train': 'abcd'}), None, 2).source('train')
    assert plain.sizes() == set() and sample_mask(plain, 0).shape == (1, 1)
    plain.check_files()


def test_a_group_of_several_counts_as_many():
    # Two images of the class in the group x, one each in y and z: x in one fold, the rest apart.
    shown = np.array([[1], [1], [1], [1]], bool)
    found = stratified(['x', 'y', 'x', 'z'], shown, 2, 0)
    np.testing.assert_array_equal(found, [0, 1, 0, 1])


def test_stratification_is_closer_to_equal_shares_than_chance():
    rng = np.random.default_rng(0)
    shown = rng.random((203, 4)) < np.array([0.04, 0.1, 0.3, 0.8])
    names = [f'image{index}' for index in range(203)]

    def worst(assigned):
        counts = np.array([shown[assigned == fold].sum(0) for fold in range(5)])
        return np.abs(counts - shown.sum(0) / 5).max(0)

    assert (worst(stratified(names, shown, 5, 1)) <= [1, 1.5, 2, 2]).all()
    assert worst(balanced(names, 5, 1)).max() > 3


@pytest.mark.parametrize('options', [
    {}, {'seed': 1}, {'assignment': 'blocks', 'group': '^.'}, {'assignment': 'stratified'},
    {'group': '[0-9]+'}])
def test_each_sample_is_in_validation_once_and_otherwise_in_training(options):
    names = [f'{clip}{i}' for clip in 'ab' for i in range(7)]
    data = Named({'train': names[:8], 'val': names[8:], 'test': ['t']},
                 {name: [i % 3] for i, name in enumerate(names)})
    seen = collections.Counter()
    for fold in range(3):
        part = Fold(data, fold, 3, **options)
        train, val = (set(sample_names(part.source(split))) for split in ('train', 'val'))
        assert train | val == set(names) and not train & val and val
        assert part.spec.splits == ('train', 'val', 'test')
        assert sample_names(part.source('test')) == ('t',)
        seen.update(val)
    assert seen == collections.Counter(names)


def test_a_group_stays_in_one_fold():
    names = [f'patient{p}_slice{i}' for p in range(5) for i in range(p + 1)]
    data = Named({'train': names})
    found = Fold(data, 0, 3, group='^patient[0-9]+').assigned
    for patient in range(5):
        assert len({fold for name, fold in zip(names, found, strict=True)
                    if name.startswith(f'patient{patient}_')}) == 1
    assert sorted(np.bincount(found)) == [5, 5, 5]


@pytest.mark.parametrize('overlapping', [False, True])
def test_the_classes_of_a_sample_are_those_of_its_valid_pixels(overlapping):
    data = Named({'train': ['x', 'y', 'z']}, {'x': [0, 2], 'y': [1]}, overlapping)
    np.testing.assert_array_equal(folds.class_pixels(data.source('train'), data.spec) > 0,
                                  [[1, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_without_a_fold_all_is_training_data():
    data = Named({'train': ['x', 'y'], 'val': ['z'], 'test': ['t']})
    part = Fold(data, None, 2)
    assert part.spec.splits == ('train', 'test')
    assert sample_names(part.source('train')) == ('x', 'y', 'z')
    with pytest.raises(InputError, match="no split 'val', because all.*; known: train, test"):
        part.source('val')


def test_fewer_groups_than_folds_are_refused():
    data = Named({'train': ['a1', 'a2', 'b1']})
    with pytest.raises(InputError, match='3 folds of 3 samples in 2 groups leave fold 2 empty'):
        Fold(data, 0, 3, group='^.').source('val')


def test_files_of_equal_names_in_two_splits_are_told_apart(tmp_path):
    write_folder(tmp_path)
    entry = {'type': 'folds.Fold', 'data': {'type': 'folder.Folder', 'root': str(tmp_path)},
             'fold': 1, 'folds': 4}
    part = build('data', entry)
    val = check_source(part, 'val')
    assert len(val) == 2 and len(part.source('train')) == 6 and val.sizes() == {(32, 40)}
    for sample, name in zip(map(val.__getitem__, range(2)), val.names, strict=True):
        split, _, stem = name.partition('/')
        source = Folder(str(tmp_path)).source(split)
        expected = source[source.names.index(stem)]
        assert sample['name'] == name
        np.testing.assert_array_equal(sample['image'], expected['image'])
    assert len(split_identity(val)['bytes']) == 2
    (tmp_path / val.names[0].replace('/', '/images/')).with_suffix('.jpg').write_text('x')
    with pytest.raises(InputError, match=rf'{val.names[0].partition("/")[2]}\.jpg'):
        check_source(part, 'val')
    check_source(part, 'train')  # which does not hold that file


@pytest.mark.parametrize('options, message', [
    ({'fold': 5}, 'data.fold: 5 of 5 folds; give 0 to 4'),
    ({'folds': 1}, 'data.folds: 1 is out of range'),
    ({'folds': 4}, 'data.folds: 4 folds of 3 samples leave fold 3 empty'),
    ({'folds': 3, 'group': '^[xy]|z'}, 'no error'),
    ({'folds': 3, 'group': '^.'}, 'no error'),
    ({'folds': 2, 'group': '^(?=.)'}, 'finds nothing'),
    ({'folds': 2, 'group': '^[xy]'}, "data.group: '\\^\\[xy\\]' finds nothing in the stem 'z'"),
    ({'group': '['}, r"data.group: '\[' is no regular expression"),
    ({'assignment': 'blocks', 'seed': 1}, 'data.seed: 1 has no effect on blocks'),
    ({'assignment': 'block'}, "did you mean 'blocks'"),
    ({'pooled': ['valid']}, r"data.pooled: the data set has none of \['valid'\]; known: train")])
def test_what_cannot_be_dealt_is_refused(options, message):
    data = Named({'train': ['x', 'y', 'z']})
    if message == 'no error':
        assert len(set(Fold(data, **options).assigned.tolist())) == 3
        return
    with pytest.raises(InputError, match=message):
        Fold(data, **options).source('train')
