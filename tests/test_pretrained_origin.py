"""The origin of weights in model.json: digests of all files, the licence; a strict record."""

import hashlib
import json

import numpy as np
import pytest

from jaxseg.commands.assemble import ModelRecord
from jaxseg.commands.origin import Origin
from jaxseg.errors import InputError
from jaxseg.pretrained import efficientnet_pytorch
from jaxseg.records import read_record, write_record


def test_the_origin_names_every_file_and_the_licence(tmp_path):
    for name in ('a.npz', 'b.npz'):
        np.savez(tmp_path / name, **{name[0]: np.ones(2, np.float32)})
    index = tmp_path / 'model.index.json'
    index.write_text(json.dumps({'weight_map': {'b': 'b.npz', 'a': 'a.npz'}}))
    origin = Origin.of(efficientnet_pytorch.EfficientNet(str(index)), 'x.Y')
    assert origin.license == 'Apache-2.0'
    assert origin.sha256 == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
                             for name in ('model.index.json', 'a.npz', 'b.npz')}
    (tmp_path / 'b.npz').unlink()
    with pytest.raises(InputError, match='b.npz is not a file'):
        Origin.of(efficientnet_pytorch.EfficientNet(str(index)), 'x.Y')


def test_the_origin_in_a_record_is_strict(tmp_path):
    path, good = tmp_path / 'model.json', {'type': 'a.B', 'source': None, 'sha256': {'a': 'b'},
                                             'license': None}
    record = {'mean': [0.5], 'std': [0.5], 'value_range': [0, 255], 'input_shape': [8, 8, 1]}
    write_record(path, record)
    assert ModelRecord.load(path).pretrained is None
    write_record(path, record | {'pretrained': good})
    assert ModelRecord.load(path).pretrained == Origin(**good)
    assert read_record(path)['pretrained'] == good
    for bad in (3, [], 'x', {}, {**good, 'more': 1}, {**good, 'type': 3}, {**good, 'license': 3},
                {**good, 'sha256': {'a': 3}}, {'type': 'a.B'}):
        write_record(path, record | {'pretrained': bad})
        with pytest.raises(InputError, match='model.json.pretrained'):
            ModelRecord.load(path)
