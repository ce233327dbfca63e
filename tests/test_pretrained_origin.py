"""The origin of weights in model.json: digests of all files, the licence; a strict record."""

import hashlib
import json
import types

import numpy as np
import pytest

from jaxseg.commands.assemble import ModelRecord
from jaxseg.commands.origin import Origin
from jaxseg.encoders.efficientnet import EfficientNet
from jaxseg.errors import InputError
from jaxseg.pretrained import efficientnet_pytorch
from jaxseg.pretrained.stated import stated_size
from jaxseg.records import read_record, write_record


def test_the_origin_names_every_file_and_the_licence(tmp_path):
    for name in ('a.npz', 'b.npz'):
        np.savez(tmp_path / name, **{name[0]: np.ones(2, np.float32)})
    index = tmp_path / 'model.index.json'
    index.write_text(json.dumps({'weight_map': {'b': 'b.npz', 'a': 'a.npz'}}))
    model = types.SimpleNamespace(encoder=EfficientNet('b2'))
    origin = Origin.of(efficientnet_pytorch.EfficientNet(str(index)), 'x.Y', model)
    assert (origin.license, origin.size) == ('Apache-2.0', (260, 260))
    assert origin.sha256 == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
                             for name in ('model.index.json', 'a.npz', 'b.npz')}
    (tmp_path / 'b.npz').unlink()
    with pytest.raises(InputError, match='b.npz is not a file'):
        Origin.of(efficientnet_pytorch.EfficientNet(str(index)), 'x.Y', model)


def test_the_origin_in_a_record_is_strict(tmp_path):
    path, good = tmp_path / 'model.json', {'type': 'a.B', 'source': None, 'sha256': {'a': 'b'},
                                             'license': None}
    record = {'mean': [0.5], 'std': [0.5], 'value_range': [0, 255], 'input_shape': [8, 8, 1],
              'dtype': 'uint8'}
    write_record(path, record)
    assert ModelRecord.load(path).pretrained is None
    write_record(path, record | {'pretrained': good})
    assert ModelRecord.load(path).pretrained == Origin(**good)
    assert read_record(path)['pretrained'] == good
    write_record(path, record | {'pretrained': good | {'size': [3, 4]}})
    assert ModelRecord.load(path).pretrained == Origin(**good, size=(3, 4))
    for bad in (3, [], 'x', {}, {**good, 'more': 1}, {**good, 'type': 3}, {**good, 'license': 3},
                {**good, 'sha256': {'a': 3}}, {**good, 'size': [3]}, {**good, 'size': 3},
                {'type': 'a.B'}):
        write_record(path, record | {'pretrained': bad})
        with pytest.raises(InputError, match='model.json.pretrained'):
            ModelRecord.load(path)


@pytest.mark.parametrize('files, expected', [
    ({}, None),
    ({'config': {'pretrained_cfg': {'input_size': [3, 240, 320]}}}, (240, 320)),
    ({'config': {'image_size': 384}}, (384, 384)),
    ({'config': {'image_size': [1, 2]}}, (1, 2)),
    ({'config': {'image_size': 224}, 'preprocessor_config': {'size': {'height': 5, 'width': 6}}},
     (5, 6)),
    ({'preprocessor_config': {'size': {'shortest_edge': 256},
                              'crop_size': {'height': 7, 'width': 8}}}, (7, 8)),
    ({'preprocessor_config': {'size': {'shortest_edge': 256}}}, (256, 256)),
    ({'preprocessor_config': {'size': 512}}, (512, 512)),
    ({'config': {'image_size': 'large', 'pretrained_cfg': 3},
      'preprocessor_config': {'size': {'longest_edge': 9}, 'crop_size': [0, True]}}, None),
    ({'config': [3]}, None)])
def test_the_size_comes_from_the_files_beside_the_weights(tmp_path, files, expected):
    for name, values in files.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(values))
    assert stated_size(str(tmp_path / 'model.safetensors')) == expected
    (tmp_path / 'config.json').write_text('{')
    assert stated_size(str(tmp_path / 'model.safetensors')) in (expected, None)
