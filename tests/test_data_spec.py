"""The description of a data set and its file."""

import json

import pytest

from jaxseg.data.spec import DatasetSpec, distinct_colors
from jaxseg.errors import InputError
from jaxseg.records import sealed

SPEC = DatasetSpec('toys', ('a', 'b', 'c'), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_the_palette_is_that_of_pascal_voc():
    assert distinct_colors(22)[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert len(set(distinct_colors(256))) == 256


def test_a_description_survives_its_file(tmp_path):
    SPEC.save(tmp_path / 'dataset.json')
    assert DatasetSpec.load(tmp_path / 'dataset.json') == SPEC
    with pytest.raises(InputError, match="ignore_index 1 is also the class 'b'"):
        DatasetSpec('toys', ('a', 'b'), ignore_index=1)
    for text, words in (('[', 'not JSON'), ('{"name": "toys"}', 'its sha256 is missing'),
                        (json.dumps(sealed({'name': 'toys'})), 'holds name, expected classes')):
        (tmp_path / 'dataset.json').write_text(text)
        with pytest.raises(InputError, match=f'dataset.json: {words}'):
            DatasetSpec.load(tmp_path / 'dataset.json')
    with pytest.raises(InputError, match='none.json: cannot be read .*; restore the file'):
        DatasetSpec.load(tmp_path / 'none.json')


@pytest.mark.parametrize('fields, key', [
    ({'value_range': [255, 0]}, 'value_range'), ({'value_range': [0, float('inf')]}, 'value_range'),
    ({'value_range': [0]}, 'value_range'), ({'overlapping': 1}, 'overlapping'),
    ({'overlapping': True, 'ignore_index': 1}, 'ignore_index'),
    ({'mean': [], 'std': []}, '0 means')])
def test_a_description_that_cannot_be_is_refused(fields, key):
    with pytest.raises(InputError, match=key):
        DatasetSpec('toys', ('a',), **fields)


def test_the_fill_is_the_mean_in_pixel_values():
    spec = DatasetSpec('toys', ('a', 'b'), mean=(0.5, 0.25), std=(1.0, 1.0), ignore_index=9,
                       value_range=(-1000, 3000))
    assert spec.fill == ((1000.0, 0.0), 9, (-1000.0, 3000.0))


def test_a_description_is_written_whole_and_in_utf_8(tmp_path):
    spec = DatasetSpec('straße', ('Himmel', '空'), overlapping=True, value_range=(0, 65535))
    spec.save(tmp_path / 'dataset.json')
    assert DatasetSpec.load(tmp_path / 'dataset.json') == spec
    assert '空' in (tmp_path / 'dataset.json').read_bytes().decode('utf-8')
    assert [path.name for path in tmp_path.iterdir()] == ['dataset.json']
