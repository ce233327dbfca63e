"""Weights written to files: other libraries' names and ours, bit for bit, and read back."""

import json
import sys

import jax
import numpy as np
import pytest
import safetensors

from jaxseg.commands import main
from jaxseg.commands.workdir import open_workdir
from jaxseg.errors import InputError
from jaxseg.pretrained import exported
from jaxseg.pretrained.convert import Weights
from jaxseg.pretrained.names import batch_norm, layer
from jaxseg.pretrained.revert import revert
from jaxseg.pretrained.tensors import read_tensors
from jaxseg.pretrained.write import read_metadata, write_tensors
from tests.runs import STEPS, refused, write_config


class VGG(Weights):
    """Names of the encoder of the run, as another library could have them."""

    rules = (*layer('features.{i}.{j}.conv', 'stage{i}_conv{j}'),
             *batch_norm('features.{i}.{j}.norm', 'stage{i}_norm{j}'))
    first = 'params/stage0_conv0/kernel'


NAMES = f'{__name__}:VGG'


def export(trained, path, *more):
    assert main(['export-weights', f'--workdir={trained}', f'--output={path}', *more]) == 0
    return path


def equal(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype and np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize('suffix', ['.safetensors', '.npz'])
def test_an_encoder_under_other_names_is_the_same_when_it_is_loaded(trained, tmp_path, capfd,
                                                                    suffix):
    path = export(trained, tmp_path / f'new/encoder{suffix}', f'--names={NAMES}',
                  '--checkpoint=latest')
    assert 'checkpoint 4: 10 tensors' in capfd.readouterr().out
    run = open_workdir(trained)
    _, variables = run.variables('latest')
    ours = {collection: tree['encoder'] for collection, tree in variables.items()}
    shapes = run.parts.variables(run.record.input_shape)
    wanted = {collection: shapes[collection]['encoder'] for collection in ours}
    equal(VGG(str(path)).load(wanted), ours)
    tensors = read_tensors(path)
    kernel = np.asarray(ours['params']['stage0_conv0']['kernel'])
    assert tensors['features.0.0.conv.weight'].shape == (8, 3, 3, 3)
    assert tensors['features.0.0.conv.weight'].tobytes() == kernel.transpose(3, 2, 0, 1).tobytes()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('suffix', ['.safetensors', '.npz'])
def test_our_names_hold_the_whole_model_and_what_it_expects(trained, tmp_path, suffix):
    path = export(trained, tmp_path / f'a{suffix}')
    run = open_workdir(trained)
    step, variables = run.variables('best')
    weights = exported.Exported(str(path))
    equal(weights.load(run.parts.variables(run.record.input_shape)), variables)
    assert (weights.mean, weights.std, weights.license) == (run.record.mean, run.record.std, None)
    metadata = read_metadata(path)
    assert json.loads(metadata['config'])['model'] == run.config.model
    assert (metadata['format'], metadata['checkpoint']) == ('flax', str(step))
    assert json.loads(metadata['classes']) == list(run.spec.classes)
    (tmp_path / 'plain').write_text('')
    assert path.stat().st_mode == (tmp_path / 'plain').stat().st_mode
    if suffix == '.safetensors':
        with safetensors.safe_open(path, 'numpy') as file:
            assert file.metadata() == metadata


def test_a_run_starts_from_the_weights_of_another(trained, tmp_path):
    path = export(trained, tmp_path / 'a.npz', '--checkpoint=4')
    source = {'type': 'exported.Exported', 'path': str(path), 'parts': ['encoder', 'context']}
    more = ['--config.optimizer.learning_rate=1e-30', '--config.data.seed=5',
            f'--config.pretrained={json.dumps(source)}']
    command = ['train', f'--config={write_config(tmp_path)}', f'--workdir={tmp_path}/work',
               *STEPS, *more]
    assert main(command) == 0
    old, new = open_workdir(trained), open_workdir(tmp_path / 'work')
    assert new.record.mean == old.record.mean
    assert list(new.record.pretrained.sha256) == ['a.npz']
    (_, before), (_, after) = old.variables('4'), new.variables('latest')
    equal(jax.tree.map(lambda x: x.round(6), after['params']['encoder']),
          jax.tree.map(lambda x: x.round(6), before['params']['encoder']))
    # The file is not needed any more, though the means were read from it.
    path.unlink()
    assert main([*command, '--config.steps=6']) == 0
    assert open_workdir(tmp_path / 'work').record == new.record


def test_weights_of_another_run_that_do_not_fit_are_named(trained, tmp_path):
    run = open_workdir(trained)
    shapes, path = run.parts.variables(run.record.input_shape), tmp_path / 'a.npz'
    _, variables = run.variables('best')
    tensors = read_tensors(export(trained, path))
    parts = {key: dict(tree) for key, tree in shapes.items()}
    parts['params']['head'] = {'kernel': jax.ShapeDtypeStruct((3, 3, 8, 9), 'float32'),
                               'bias': shapes['params']['head']['bias']}
    with pytest.raises(InputError, match=r"params/head/kernel is float32 \(3, 3, 8, 5\) and the "
                                         r"model needs float32 \(3, 3, 8, 9\); .*'head' out of"):
        exported.Exported(str(path)).load(parts)
    found = exported.Exported(str(path), parts=('encoder', 'decoder')).load(parts)
    assert found['params'].keys() == {'encoder', 'decoder'}
    equal(found['params']['decoder'], variables['params']['decoder'])
    del parts['params']['encoder'], tensors['params/head/bias']
    np.savez(path, **tensors, other=np.ones(3))
    with pytest.raises(InputError, match=r'6 tensors .* \(params/encoder/.* 1 variables of .*'
                                         r'\(params/head/bias\); .* pretrained.parts'):
        exported.Exported(str(path)).load(parts)
    with pytest.raises(InputError, match='a.npz: it has no metadata'):
        _ = exported.Exported(str(path)).mean
    write_tensors(path, tensors, {'std': '[1]', 'mean': 'x'})
    assert exported.Exported(str(path)).std == (1,)
    for name in ('mean', 'license'):
        with pytest.raises(InputError, match='it does not state the'):
            getattr(exported.Exported(str(path)), name)
    (tmp_path / 'a.safetensors').write_bytes(b'\0' * 20)
    for file in ('a.safetensors', 'none.npz', 'none.safetensors'):
        with pytest.raises(InputError, match=file):
            read_metadata(tmp_path / file)


def test_an_export_that_cannot_be_made_writes_nothing(trained, tmp_path, capfd, monkeypatch):
    start = ['export-weights', f'--workdir={trained}']
    (tmp_path / 'folder.npz').mkdir()
    for more, words in (
            ([f'--output={tmp_path}/a.pth'], ['a.pth', '.safetensors or .npz']),
            ([f'--output={tmp_path}/folder.npz'], ['folder.npz is a folder']),
            (['--output='], ['--output: empty']),
            ([f'--output={tmp_path}/a.npz', '--checkpoint=7'], ["'7' is not in"]),
            ([f'--output={tmp_path}/a.npz', '--names=torchvision.Resnet'],
             ['--names=torchvision.Resnet', "did you mean 'torchvision.ResNet'", ', ours']),
            ([f'--output={tmp_path}/a.npz', '--names=efficientnet_pytorch.EfficientNet'],
             ['--names=efficientnet_pytorch.EfficientNet', '10 variables', 'have no name there']),
            ([f'--output={tmp_path}/a.npz', '--config.steps=3'], ['no effect in export-weights'])):
        refused([*start, *more], words, capfd)
    monkeypatch.setitem(sys.modules, 'safetensors.numpy', None)
    refused([*start, f'--output={tmp_path}/a.safetensors'], ["pip install 'jaxseg[pretrained]'"],
            capfd)
    assert [file.name for file in tmp_path.iterdir()] == ['folder.npz']


def test_tensors_of_several_variables_and_transposed_convolutions_are_joined():
    rng, rules = np.random.default_rng(0), [
        ('qkv.weight', ('params/q/kernel', 'params/k/kernel')), *layer('up', 'up'),
        ('up.weight', 'params/up/transposed_kernel')]
    q, k, up = (rng.normal(size=size) for size in ((3, 2), (3, 2), (2, 4, 5, 6)))
    variables = {'params': {'q': {'kernel': q}, 'k': {'kernel': k},
                            'up': {'transposed_kernel': up}}}
    found = revert(variables, rules)
    np.testing.assert_array_equal(found['qkv.weight'], np.concatenate([q.T, k.T]))
    np.testing.assert_array_equal(found['up.weight'], up.transpose(2, 3, 0, 1))
    assert found['up.weight'].flags.c_contiguous
    del variables['params']['k']
    with pytest.raises(InputError, match=r'1 variables .* no name there \(params/q/kernel\)'):
        revert(variables, rules)
