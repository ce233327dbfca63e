"""Checkpoints of the Hugging Face Hub, with a Hub in a folder in place of the network."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest

from jaxseg.commands.origin import Origin
from jaxseg.commands.paths import with_absolute_paths
from jaxseg.errors import InputError
from jaxseg.pretrained import hub, torchvision
from jaxseg.pretrained.tensors import checkpoint_files, read_tensors

COMMIT = '0123abcd' * 5
CARD = '---\ntags: [a]\nlicense: cc-by-nc-4.0\n---\nlicense: mit\n'


@pytest.fixture
def online(tmp_path, monkeypatch):
    """A Hub that has the files of one commit of one repository; records what is downloaded."""
    folder, asked = tmp_path / 'snapshots' / COMMIT, []
    folder.mkdir(parents=True)

    def hf_hub_download(repository, file, *, revision=None):
        asked.append((file, revision))
        if repository != 'some/net' or revision not in (None, 'v1', COMMIT):
            raise ConnectionError('no such place\nand more')
        if not (folder / file).is_file():
            raise FileNotFoundError(f'no {file}')
        return str(folder / file)

    fake = types.ModuleType('huggingface_hub')
    fake.hf_hub_download = hf_hub_download
    fake.logging = types.SimpleNamespace(set_verbosity_error=lambda: None)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', fake)
    return types.SimpleNamespace(folder=folder, asked=asked)


@pytest.mark.parametrize('path, expected', [
    ('hf://some/net', ('some/net', None, 'model.safetensors')),
    ('hf://some/net@v1', ('some/net', 'v1', 'model.safetensors')),
    ('hf://some/n.e-t@v1/deep/a.bin', ('some/n.e-t', 'v1', 'deep/a.bin')),
    ('some/net', None), (pathlib.Path('a.npz'), None)])
def test_an_address_has_a_repository_a_revision_and_a_file(path, expected):
    assert hub.parse(path) == expected


@pytest.mark.parametrize('path', ['hf://', 'hf://net', 'hf://a/b@', 'hf://a/b/../c', 'hf:///a/b',
                                  'hf://a/b c'])
def test_what_is_no_address_is_refused(path):
    with pytest.raises(InputError, match='hf://OWNER/NAME@REVISION/FILE'):
        read_tensors(path)


def test_the_origin_states_commit_digest_and_licence(online):
    np.savez(online.folder / 'a.npz', x=np.ones(2, np.float32))
    path = 'hf://some/net@v1/a.npz'
    assert read_tensors(path)['x'].tolist() == [1, 1]
    assert online.asked == [('a.npz', 'v1')]
    weights = torchvision.ResNet(path)
    assert Origin.of(weights, 'x.Y', None).license is None
    (online.folder / 'README.md').write_text(CARD)
    origin = Origin.of(weights, 'x.Y', None)
    assert (origin.source, origin.license) == (f'hf://some/net@{COMMIT}/a.npz', 'cc-by-nc-4.0')
    assert origin.sha256.keys() == {'a.npz'}
    assert f'x.Y, hf://some/net@{COMMIT}/a.npz, a.npz (SHA-256 ' in str(origin)
    assert online.asked[-3] == ('README.md', COMMIT)
    assert origin.size == (224, 224)
    (online.folder / 'config.json').write_text('{"image_size": 288}')
    assert weights.size(None) == (288, 288) and online.asked[-1] == ('config.json', 'v1')


def test_the_files_of_an_index_are_of_the_same_commit(online):
    (online.folder / 'deep').mkdir()
    np.savez(online.folder / 'deep/a.npz', x=np.ones(2, np.float32))
    index = online.folder / 'deep/model.index.json'
    index.write_text(json.dumps({'weight_map': {'x': 'a.npz'}}))
    address = 'hf://some/net/deep/model.index.json'
    assert checkpoint_files(address) == (index, index.with_name('a.npz'))
    assert online.asked == [('deep/model.index.json', None), ('deep/a.npz', COMMIT)]
    assert read_tensors(address).keys() == {'x'}


def test_a_download_that_fails_is_one_line(online):
    with pytest.raises(InputError) as error:
        read_tensors('hf://other/net@v1')
    assert str(error.value) == (
        'hf://other/net@v1/model.safetensors: cannot be downloaded (ConnectionError: no such '
        'place); check the address and the network, or give a file of this machine')


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(InputError, match=r"pip install 'jaxseg\[hub\]'"):
        read_tensors('hf://some/net')


def test_an_address_in_a_config_is_no_path_of_this_machine():
    config = {'pretrained': {'type': 'a.B', 'path': 'hf://some/net@v1'}, 'data': {'root': 'a'}}
    found = with_absolute_paths(config)
    assert found['pretrained'] == config['pretrained']
    assert found['data']['root'] == f'{pathlib.Path.cwd()}/a'
