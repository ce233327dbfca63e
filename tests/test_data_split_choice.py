"""Splits that nobody has stated: what stays together, shares, and the fold that validates."""

import collections

import pytest

from jaxseg.data.folds import Fold
from jaxseg.data.split_choice import choose_fold, choose_splits
from jaxseg.data.splits import assign_split
from jaxseg.errors import InputError
from tests.test_data_folds import Named


def validated(fold, stems):
    """The stems that validate, of a data set with these."""
    values = {key: finding.value for key, finding in fold.items()}
    assert values.pop('type') == 'folds.Fold'
    return set(Fold(Named({'train': stems}), **values).source('val').names)


def test_frames_of_one_video_stay_together():
    stems = [f'video{video}_frame_{frame:03d}' for video in range(8) for frame in range(5)]
    found, fold = choose_splits(dict.fromkeys(stems, ()))
    assert found['naming.group'].value == r'^.+?(?=(?:[_-][A-Za-z]*\d+)+$)' and not fold
    for name in ('img_{:03d}', '{:03d}'):
        alone, fold = choose_splits({name.format(index): () for index in range(40)})
        assert 'naming.group' not in alone and not fold
        assert 'split one by one' in alone['splits'].reason
    words, _ = choose_splits(dict.fromkeys('abcdef', ()))
    assert 'one by one' not in words['splits'].reason


def test_of_few_videos_one_block_of_each_validates():
    stems = [f'{video}_{frame:04d}' for video in 'abc' for frame in range(1, 101)]
    whole, fold = choose_splits(dict.fromkeys(stems, ()))
    assert whole['splits'].value == {'train': 1.0} and fold == choose_fold(dict.fromkeys(stems, ()))
    assert "100 of 'a'" in fold['group'].reason
    val = validated(fold, stems)
    assert val == {f'{video}_{frame:04d}' for video in 'abc' for frame in range(1, 21)}
    # Both parts show class 1.
    rare = {stem: {0, 1} if stem[-4:] in ('0090', '0050') and stem[0] == 'a' else {0}
            for stem in stems}
    assert 'a_0050' in validated(choose_splits(rare).fold, stems)
    few, fold = choose_splits({f'{video}_{frame}': () for video in 'abc' for frame in range(9)})
    assert not fold and 'naming.group' not in few and 'one by one' in few['splits'].reason


def test_single_images_of_many_names_are_no_groups():
    stems = [f'{letter}_1' for letter in 'abcdef'] + ['a_2', 'b_2']
    assert 'naming.group' not in choose_splits(dict.fromkeys(stems, ())).fields
    assert 'naming.group' in choose_splits(dict.fromkeys([*stems, 'c_2', 'd_2'], ())).fields


def test_no_split_is_empty_and_a_rare_class_is_in_training():
    for names in ('ab', 'abc', 'xy'):
        found = choose_splits(dict.fromkeys(names, ())).fields
        shares, seed = found['splits'].value, found['split_seed'].value
        assert {assign_split(name, shares, seed) for name in names} == {'train', 'val'}
    for rare in ('3', '17', '25'):
        found = choose_splits({str(index): {0, 1} if str(index) == rare else {0}
                               for index in range(40)}).fields
        assert assign_split(rare, found['splits'].value, found['split_seed'].value) == 'train'


def test_splits_show_all_classes_and_hold_about_their_shares():
    contents = {f'{index}': {0, 1} if index < 4 else {0} for index in range(40)}
    found = choose_splits(contents).fields
    shares, seed = found['splits'].value, found['split_seed'].value
    split_of = {stem: assign_split(stem, shares, seed) for stem in contents}
    assert {split_of[str(index)] for index in range(4)} == {'train', 'val', 'test'}
    counts = collections.Counter(split_of.values())
    assert abs(counts['train'] - 28) <= 4 and min(counts.values()) >= 3
    assert choose_splits(contents).fields == found
    with pytest.raises(InputError, match='too few'):
        choose_splits({'a': ()})
