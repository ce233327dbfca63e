"""Tensors of checkpoints of every format; what is no tensor is refused by name and never run."""

import json
import os
import pickle

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxseg.errors import InputError
from jaxseg.pretrained.tensors import read_tensors
from tests.torch_files import Call, Global, Tensor, encode

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(4, 6)).astype(np.float32)
PLAIN = {
    'conv.weight': RNG.normal(size=(2, 3, 3, 3)).astype(np.float32),
    'half': RNG.normal(size=3).astype(np.float16),
    'brain': RNG.normal(size=3).astype(ml_dtypes.bfloat16),
    'double': RNG.normal(size=(2, 1)), 'steps': np.array(7, np.int64),
    'none': np.zeros((0, 3), np.float32), 'bytes': np.arange(5, dtype=np.uint8),
    'flags': np.array([True, False, True])}
# Transposed, cut and repeated views of one storage.
VIEWS = {'whole': (Tensor(BASE, (4, 6), (6, 1)), BASE),
         'transposed': (Tensor(BASE, (6, 4), (1, 6)), BASE.T),
         'cut': (Tensor(BASE, (2, 3), (6, 2), 6), BASE[1:3, ::2]),
         'repeated': (Tensor(BASE, (5, 6), (0, 1)), np.repeat(BASE[:1], 5, 0))}


def written(tmp_path, content, name='a.pth'):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert np.ascontiguousarray(found[name]).tobytes() == np.ascontiguousarray(value).tobytes()


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('key', [None, 'state_dict', 'model'])
def test_files_of_torch_hold_the_arrays_that_were_saved(tmp_path, legacy, key):
    saved = PLAIN | {name: tensor for name, (tensor, _) in VIEWS.items()}
    value = saved if key is None else {'epoch': 3, 'options': [1, ('x', None)], key: saved}
    found = read_tensors(written(tmp_path, encode(value, legacy=legacy)))
    assert_same(found, PLAIN | {name: array for name, (_, array) in VIEWS.items()})
    assert np.shares_memory(found['whole'], found['cut'])


def test_files_of_numpy_and_safetensors_hold_the_arrays_that_were_saved(tmp_path):
    plain = {name: value for name, value in PLAIN.items() if name != 'brain'}
    np.savez(tmp_path / 'a.npz', **plain)
    assert_same(read_tensors(tmp_path / 'a.npz'), plain)
    safetensors.numpy.save_file(plain, tmp_path / 'a.safetensors')
    assert_same(read_tensors(tmp_path / 'a.safetensors'), plain)


def test_bfloat16_of_safetensors_is_read(tmp_path):
    value = PLAIN['brain']
    header = json.dumps({'brain': {'dtype': 'BF16', 'shape': [3], 'data_offsets': [0, 6]}}).encode()
    content = len(header).to_bytes(8, 'little') + header + value.tobytes()
    assert_same(read_tensors(written(tmp_path, content, 'a.safetensors')), {'brain': value})


def test_a_checkpoint_in_several_files_is_read_by_its_index(tmp_path):
    a, b = {'a': BASE}, {'b': BASE + 1, 'c': BASE + 2}
    safetensors.numpy.save_file(a, tmp_path / '1.safetensors')
    safetensors.numpy.save_file(b, tmp_path / '2.safetensors')
    index = tmp_path / 'model.safetensors.index.json'

    def write(**files):
        index.write_text(json.dumps({'weight_map': files}))

    write(a='1.safetensors', b='2.safetensors', c='2.safetensors')
    assert_same(read_tensors(index), a | b)
    for files, word in (({'a': '2.safetensors'}, 'a is not in 2.safetensors'),
                        ({'a': '3.safetensors'}, '3.safetensors is not a file'),
                        ({'a': '../1.safetensors'}, 'weight_map'),
                        ({'a': index.name}, 'weight_map'), ({'a': 3}, 'weight_map'),
                        ({}, 'weight_map')):
        write(**files)
        with pytest.raises(InputError, match=word):
            read_tensors(index)


class Run:
    """Unpickled by `pickle` it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('function', [
    Global('os', 'mkdir'), Global('posix', 'mkdir'), Global('builtins', 'eval'),
    Global('torch', 'load'), Global('torch.storage', '_load_from_bytes'),
    Global('torch._utils', '_rebuild_tensor_v2.__globals__'), Global('argparse', 'Namespace'),
    Global('numpy._core.multiarray', 'scalar'), Global('collections', 'OrderedDict.__init__')])
def test_code_in_a_file_is_named_and_not_run(tmp_path, function, legacy):
    call = Call(function, (f'{tmp_path}/run',))
    for value in (call, {'a': BASE, 'b': call}, {'state_dict': {'a': [call]}}):
        path = written(tmp_path, encode(value, legacy=legacy))
        with pytest.raises(InputError, match=f'{function.module}.{function.name.split(".")[0]}'):
            read_tensors(path)
    assert not (tmp_path / 'run').exists()


def test_a_plain_pickle_is_not_run(tmp_path):
    path = written(tmp_path, pickle.dumps(Run(f'{tmp_path}/run')))
    with pytest.raises(InputError, match='not a checkpoint of torch.save'):
        read_tensors(path)
    np.savez(tmp_path / 'a.npz', a=np.array([Run(f'{tmp_path}/run')], object))
    with pytest.raises(InputError, match='a.npz: damaged, or not npz'):
        read_tensors(tmp_path / 'a.npz')
    assert not (tmp_path / 'run').exists()


def test_a_file_cannot_change_how_the_next_one_is_read(tmp_path):
    """Pickles set attributes by BUILD: here the default arguments of what rebuilds tensors."""
    rebuild = Global('torch._utils', '_rebuild_tensor_v2')
    value = encode({'a': rebuild}, legacy=True)
    state = pickle.dumps((None, {'__defaults__': (1,), '__kwdefaults__': {'x': 1}}), protocol=2)
    named = b'ctorch._utils\n_rebuild_tensor_v2\n'
    changed = value.replace(named, named + state[2:-1] + pickle.BUILD)
    assert changed != value
    with pytest.raises(InputError):
        read_tensors(written(tmp_path, changed))
    good = written(tmp_path, encode({'a': BASE}, legacy=True), 'b.pth')
    assert_same(read_tensors(good), {'a': BASE})


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('tensor', [
    Tensor(BASE, (4, 7), (6, 1)), Tensor(BASE, (4, 6), (6, 1), 1), Tensor(BASE, (4, 6), (6, -1)),
    Tensor(BASE, (4, 6), (6, 1), -1), Tensor(BASE, (4,), (6, 1)), Tensor(BASE, (4, 6.0), (6, 1)),
    Tensor(BASE, (4, 6), (6, 1), 0, 10 ** 12), Tensor(BASE, (10 ** 12,), (1,), 0, 10 ** 12),
    Tensor(BASE, (4, 6), (6, 1), 0, -24)])
def test_a_tensor_outside_of_its_storage_is_refused(tmp_path, tensor, legacy):
    with pytest.raises(InputError, match='a.pth: '):
        read_tensors(written(tmp_path, encode({'a': tensor}, legacy=legacy)))


@pytest.mark.parametrize('legacy', [False, True])
def test_a_truncated_or_changed_file_is_refused_or_gives_the_same_names(tmp_path, legacy):
    content = encode(PLAIN, legacy=legacy)
    for end in range(0, len(content) - 1, 397):
        with pytest.raises(InputError, match=r'a.pth: '):
            read_tensors(written(tmp_path, content[:end]))
    for place in range(0, len(content), 211):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        try:  # the formats have no digest of names and values; but nothing else may happen
            read_tensors(written(tmp_path, bytes(changed)))
        except InputError as error:
            assert str(error).startswith(f'{tmp_path}/a.pth: ') and '\n' not in str(error)


@pytest.mark.parametrize('value, word', [
    ([BASE], 'a list'), ({}, 'a dict'), ({'a': BASE, 'epoch': 3}, "'epoch' is a int"),
    ({3: BASE}, '3 is a ndarray'), ('x', 'a str')])
def test_what_is_no_tensor_is_named(tmp_path, value, word):
    with pytest.raises(InputError, match=word):
        read_tensors(written(tmp_path, encode(value)))


@pytest.mark.parametrize('name, content, word', [
    ('a.h5', b'', 'known are .safetensors, .pth, .pt, .bin, .npz, .index.json'),
    ('a.pt', encode({'a': BASE}, extra={'constants.pkl': b''}), 'TorchScript'),
    ('a.safetensors', b'x' * 20, 'damaged, or not safetensors'), ('a.npz', b'x', 'not npz')])
def test_other_formats_are_named(tmp_path, name, content, word):
    with pytest.raises(InputError, match=word):
        read_tensors(written(tmp_path, content, name))
    with pytest.raises(InputError, match='is not a file'):
        read_tensors(tmp_path / 'none.pth')
