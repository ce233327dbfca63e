"""The stems of a split depend on all stems, the seed and the shares alone."""

import hashlib
import itertools
import unicodedata

import numpy as np
import pytest

from jaxseg.data.splits import (
    FilteredSource,
    assign_split,
    check_source,
    listed_bytes,
    sample_names,
    split_identity,
)
from jaxseg.data.synthetic import Shapes
from jaxseg.errors import InputError
from tests.test_data_listing import data, pair

SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}
STEMS = [f'frame_{index:05d}' for index in range(10_000)]


class Named:
    """A source without files that counts what was decoded."""

    def __init__(self, names):
        self.stems, self.decoded = names, 0

    def __len__(self):
        return len(self.stems)

    def __getitem__(self, index):
        self.decoded += 1
        return {'image': np.zeros((2, 2, 1), np.uint8), 'mask': np.zeros((2, 2), np.uint8),
                'name': self.stems[index]}


def test_the_split_of_a_stem_is_the_interval_of_its_hash():
    for stem in STEMS[:200]:
        number = int(hashlib.sha256(f'3:{stem}'.encode()).hexdigest(), 16) / 2 ** 256
        expected = 'train' if number < 0.7 else 'val' if number < 0.8 else 'test'
        assert assign_split(stem, SHARES, 3) == expected


def test_the_order_of_the_shares_means_nothing():
    orders = [dict(order) for order in itertools.permutations({**SHARES, 'test': 0.1, 'a': 0.05,
                                                               'z': 0.05}.items())]
    for stem in STEMS[:100]:
        assert len({assign_split(stem, order, 0) for order in orders}) == 1


@pytest.mark.parametrize('shares', [SHARES, {'train': 0.5, 'val': 0.25}, {'train': 1.0},
                                    {'b': 0.3, 'a': 0.6, 'val': 0.1}])
def test_shares_of_many_stems_are_as_given(shares):
    found = [assign_split(stem, shares, 7) for stem in STEMS]
    for split, share in {**shares, None: 1 - sum(shares.values())}.items():
        # Four standard deviations of a binomial distribution.
        deviation = np.sqrt(len(STEMS) * abs(share * (1 - share)))
        assert abs(found.count(split) - share * len(STEMS)) <= 4 * deviation + 1e-6


def test_another_seed_and_similar_stems_are_independent():
    first, other = ([assign_split(stem, {'train': 0.5, 'val': 0.5}, seed) for stem in STEMS]
                    for seed in (0, 1))
    assert abs(np.mean(np.array(first) == np.array(other)) - 0.5) < 0.02
    assert abs(np.mean(np.array(first[1:]) == np.array(first[:-1])) - 0.5) < 0.02


def test_images_that_are_added_or_removed_move_no_other(tmp_path):
    def members(shares):
        dataset = data(tmp_path, splits=shares)
        return {name: split for split in shares for name in dataset.source(split).names}

    for stem in STEMS[:40]:
        pair(tmp_path, stem)
    before = members(SHARES)
    assert len(before) == 40 and set(before.values()) == set(SHARES)
    for stem in ('a_new', 'zz', 'frame_00000b'):
        pair(tmp_path, stem)
    for stem in STEMS[5:10]:
        (tmp_path / 'images' / f'{stem}.png').unlink()
        (tmp_path / 'masks' / f'{stem}.png').unlink()
    after = members(dict(reversed(SHARES.items())))
    assert len(after) == 38
    assert all(after[name] == split for name, split in before.items() if name in after)


def test_stems_of_one_group_are_in_one_split_that_of_its_hash(tmp_path):
    stems = [f'scene{scene:02d}_tile{tile}' for scene in range(30) for tile in range(3)]
    for stem in stems:
        pair(tmp_path, stem)
    for group in ('^scene[0-9]+', '^(scene[0-9]+)(?=_tile)'):
        dataset = data(tmp_path, splits=SHARES, naming={'group': group})
        members = {name: split for split in SHARES for name in dataset.source(split).names}
        assert members == {stem: assign_split(stem[:7], SHARES, 0) for stem in stems}
        assert set(members.values()) == set(SHARES)


@pytest.mark.parametrize('group, said', [
    ('scene[', 'no regular expression'), ('^x', "finds nothing in the stem 'scene1_tile0'"),
    ('x*', "finds nothing in the stem 'scene1_tile0'"),
    ('(?P<a>s)(?P<a>c)', 'no regular expression'), ('a{99999999999}', 'no regular expression')])
def test_groups_that_cannot_be_are_refused_in_one_line(tmp_path, group, said):
    pair(tmp_path, 'scene1_tile0')
    with pytest.raises(InputError, match='data.naming.group') as error:
        data(tmp_path, splits={'train': 1.0}, naming={'group': group}).source('train')
    assert said in str(error.value) and '\n' not in str(error.value)


def test_groups_without_shares_are_refused(tmp_path):
    pair(tmp_path, 'a', 'train', 'outer')
    with pytest.raises(InputError, match='data.naming.group.*no effect.*data.splits'):
        data(tmp_path, naming={'group': 'a'}).source('train')


def test_a_split_that_comes_out_empty_is_refused_with_what_to_do(tmp_path):
    pair(tmp_path, 'a')
    with pytest.raises(InputError, match="split 'val' is empty, the share 0 of 1 "
                                         "images.*data.splits.*data.split_seed"):
        data(tmp_path, splits={'train': 1.0, 'val': 0.0}).source('val')


@pytest.mark.parametrize('shares, value',
                         [({'train': 0.9, 'val': 0.2}, '1.1'), ({'train': -0.1}, '-0.1'),
                                           ({'train': 1.5}, '1.5'), ({'train': 'half'}, 'half'),
                                           (0.5, '0.5')])
def test_shares_that_cannot_be_are_refused(tmp_path, shares, value):
    with pytest.raises(InputError, match=f'data.splits: .*{value}'):
        data(tmp_path, splits=shares)


def test_the_identity_is_that_of_the_names():
    source = Named(['b', 'a', 'c'])
    assert split_identity(source) == {
        'count': 3, 'names': ['a', 'b', 'c'], 'sha256': hashlib.sha256(b'a\nb\nc').hexdigest()}
    assert split_identity(Named(['c', 'b', 'a'])) == split_identity(source)
    assert split_identity(Named(['ab', 'c']))['sha256'] != split_identity(Named(['a',
                                                                                 'bc']))['sha256']
    composed, decomposed = ([unicodedata.normalize(form, 'é'), 'f'] for form in ('NFC', 'NFD'))
    assert split_identity(Named(composed)) == split_identity(Named(decomposed))
    assert assign_split(composed[0], SHARES, 0) == assign_split(decomposed[0], SHARES, 0)
    # A name on Linux need not be UTF-8.
    assert split_identity(Named([b'\xff'.decode('utf-8', 'surrogateescape')]))['count'] == 1


def test_the_bytes_of_an_identity_are_those_of_the_samples_in_their_order():
    source = Named(['b', 'c', 'a'])
    source.file_size = lambda index: 10 + index
    identity = split_identity(source)
    assert (identity['names'], identity['bytes']) == (['a', 'b', 'c'], [12, 10, 11])
    assert listed_bytes(source, identity) == [10, 11, 12]
    assert listed_bytes(source, {'names': ['a', 'b', 'c']}) is None


def test_a_seed_without_shares_is_refused(tmp_path):
    with pytest.raises(InputError, match='data.split_seed: 3 has no effect .*data.splits'):
        data(tmp_path, split_seed=3)


def test_names_are_taken_from_the_source_without_decoding(tmp_path):
    for stem in ('b_1', 'a_1', 'a_2'):
        pair(tmp_path, stem)
    source = data(tmp_path, splits={'train': 1.0}).source('train')
    (tmp_path / 'images' / 'b_1.png').write_bytes(b'no image')
    part = FilteredSource(source, 'a_')
    assert sample_names(part) == ('a_1', 'a_2') and len(part) == 2 and part[1]['name'] == 'a_2'
    drawn = Shapes(samples={'val': 3}).source('val')
    assert drawn.names == tuple(drawn[index]['name'] for index in range(3))
    counted = Named(['x', 'ay', 'az'])
    assert FilteredSource(counted, 'a').names == ('ay', 'az') and counted.decoded == 3


def test_an_empty_split_and_files_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InputError, match="split 'val' is empty"):
        check_source(Shapes(samples={'train': 2, 'val': 0}), 'val')
    assert len(check_source(Shapes(samples={'train': 2, 'val': 0}), 'train')) == 2
    pair(tmp_path, 'a')
    (tmp_path / 'masks' / 'a.png').write_bytes(b'no image')
    with pytest.raises(InputError, match='a.png'):
        check_source(data(tmp_path, splits={'train': 1.0}), 'train')
