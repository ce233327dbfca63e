"""JSON records with a digest, and files that are replaced whole."""

import json

import pytest

from jaxseg.errors import InputError
from jaxseg.files import replacing
from jaxseg.records import read_json, read_record, sealed, unsealed, write_json, write_record

VALUES = {'steps': 12, 'rate': 3e-4, 'names': ['a', 'Straße', 'bad \udcff byte'], 'best': None,
          'nested': {'type': 'unet.UNet', 'widths': [8, 8]}, 'low': float('-inf')}


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(tmp_path / 'a.json', VALUES)
    assert read_record(tmp_path / 'a.json') == VALUES
    assert 'Straße' in (tmp_path / 'a.json').read_text(encoding='utf-8')
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']
    # The order of the keys means nothing, and tuples are lists.
    assert sealed({'a': (1, 2), 'b': 1})['sha256'] == sealed({'b': 1, 'a': [1, 2]})['sha256']


def test_every_changed_bit_of_a_record_is_noticed_or_changes_no_value(tmp_path):
    path = tmp_path / 'a.json'
    write_record(path, VALUES)
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert read_record(path) == VALUES  # white space
        except InputError:
            refused += 1
    assert refused > 0.7 * len(content)


@pytest.mark.parametrize('values, words', [
    ({'a': 1}, 'is missing'), ({'a': 1, 'sha256': None}, 'does not match'),
    ({**sealed({'a': 1}), 'a': 2}, 'does not match'),
    ({**sealed({'a': 1}), 'b': 2}, 'does not match'), ({'sha256': sealed({'a': 1})['sha256']},
                                                       'does not match')])
def test_values_that_were_not_sealed_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        unsealed(values)


def test_json_that_nests_too_deeply_is_refused(tmp_path):
    (tmp_path / 'a.json').write_text('[' * 100_000)
    with pytest.raises(InputError, match='a.json'):
        read_json(tmp_path / 'a.json')


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), KeyboardInterrupt()])
def test_a_file_that_cannot_be_written_whole_is_not_written_at_all(tmp_path, error):
    write_json(tmp_path / 'a.json', {'a': 1})
    with pytest.raises(type(error)), replacing(tmp_path / 'a.json') as partial:
        partial.write_text('{"a"')
        raise error
    assert json.loads((tmp_path / 'a.json').read_text()) == {'a': 1}
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']
