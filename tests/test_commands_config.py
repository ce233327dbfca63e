"""Configs, overrides and data that cannot be used: one line of error, nothing is compiled."""

import json
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.commands import config as configs
from jaxseg.commands.run_config import RunConfig
from jaxseg.encoders.resnet import ResNet
from jaxseg.errors import InputError
from tests import runs
from tests.selection import as_trials


@pytest.fixture
def refused(capfd, monkeypatch):
    """Runs a command that must end with status 2, one line of error, and no program compiled."""
    def compiled(*_, **__):
        raise AssertionError('something was compiled before the input was refused')

    monkeypatch.setattr('jax._src.compiler.compile_or_get_cached', compiled)
    return lambda arguments, words: runs.refused(arguments, words, capfd)


@pytest.mark.parametrize('override, word', [
    ('data.overlapping=true', 'task: '),
    ('task.type=multilabel.Multilabel', 'task: '),
    ('losses={"bce": {"type": "binary_cross_entropy.binary_cross_entropy"}}',
     'binary_cross_entropy'),
])
def test_a_task_that_does_not_fit_the_data_or_the_losses_is_refused(tmp_path, refused, override,
                                                                    word):
    refused(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
             f'--config.{override}'], [word])


def test_a_config_is_the_same_after_it_was_saved():
    config = RunConfig(steps=1, batch_size=1, evaluate_every=1, data={}, model={}, losses={},
                       optimizer={}, schedule={}).to_dict()
    assert json.loads(json.dumps(config)) == config  # or a run of it would not continue


def test_paths_and_scalars_of_numpy_become_plain_values():
    given = {'root': pathlib.Path('a', 'b'), 'values': (np.int64(3), np.float32(0.5), np.True_)}
    plain = configs.plain({'data': given})
    assert plain == {'data': {'root': 'a/b', 'values': [3, 0.5, True]}}
    assert [type(value) for value in plain['data']['values']] == [int, float, bool]


@pytest.mark.parametrize('value, words', [
    (ResNet, "the class ResNet is not plain; name it as text, type='resnet.ResNet'"),
    (runs.refused, "function refused is not plain; name it as text, type='tests.runs:refused'"),
    (lambda x: x, "define it at the top level of a module"),
    (jnp.bfloat16, "name the dtype as text, 'bfloat16'"),
    (np.float32, "name the dtype as text, 'float32'"),
    (np.zeros((40, 40)), 'a value of type ndarray is not plain; a config holds numbers'),
    ({3}, 'a value of type set is not plain')])
def test_a_value_that_is_not_plain_is_refused_with_what_to_write_instead(value, words):
    with pytest.raises(InputError) as error:
        configs.plain({'model': {'key': [value]}})
    assert str(error.value).startswith('config.model.key.0: ') and words in str(error.value)
    assert '\n' not in str(error.value)


def test_overrides_keep_types_and_reach_into_lists(tmp_path):
    config = configs.from_file(runs.write_config(tmp_path))
    changed = configs.override(config, [
        '--config.steps=7', '--config.optimizer.learning_rate=1',
        '--config.model.encoder.widths=[4,4]', '--config.model.encoder.norm=group',
        '--config.transforms.0.vertical=0.5', '--config.data.size=(40,48)'])
    encoder = {**config['model']['encoder'], 'widths': [4, 4], 'norm': 'group'}
    assert (changed['steps'], changed['model']['encoder']) == (7, encoder)
    assert changed['optimizer']['learning_rate'] == 1.0
    assert changed['transforms'] == [{'type': 'transforms.RandomFlip', 'vertical': 0.5}]
    assert changed['data']['size'] == [40, 48]
    assert isinstance(changed['optimizer']['learning_rate'], float) and config['steps'] == 12


def test_an_override_may_be_a_json_object_or_list():
    changed = configs.override({'model': {'encoder': {}}, 'other': []}, [
        '--config.model={"encoder": {"remat": true, "norm": null, "width": 4}}',
        '--config.other=[false, "a"]', '--config.text={"open'])
    assert changed == {'model': {'encoder': {'remat': True, 'norm': None, 'width': 4}},
                       'other': [False, 'a'], 'text': '{"open'}


def test_an_override_adds_the_groups_that_it_needs():
    changed = configs.override({'data': {'root': 'a'}}, [
        '--data.labels.binary=true', '--data.labels.offset=1'], prefix='--')
    assert changed == {'data': {'root': 'a', 'labels': {'binary': True, 'offset': 1}}}


@pytest.mark.parametrize('argument, words', [
    ('--config.steps=many', ['--config.steps=many: expected int, such as 12']),
    ('--config.optimizer.learning_rate=fast', ['expected float, such as 0.003']),
    ('--config.steps.many=1', ["config.steps is 12, and no group; give it as a whole"]),
    ('--config.transforms.3.p=1', ["--config.transforms.3.p: '3' is not an index", 'give 0 to 0']),
    ('--config.steps', ['no value']),
])
def test_overrides_that_do_not_fit_are_named(tmp_path, argument, words):
    with pytest.raises(InputError) as error:
        configs.override(configs.from_file(runs.write_config(tmp_path)), [argument])
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize('argument, words', [
    ('stepz=3', ['config.stepz', "'steps'"]),
    ('model.encoder.dephth=3', ['model.encoder.dephth', "'depth'"]),
    ('optimiser.learning_rate=1.0', ['config.optimiser', "'optimizer'"]),
    ('optimizer.adam.b1=1', ['optimizer.adam']),
    ('model.encoder.type=vgg_like.VGLike',
     ['model.encoder', "'vgg_like.VGGLike'", 'resnet.ResNet']),
    ('model.encoder.depth=three', ['--config.model.encoder.depth=three']),
    ('model.encoder.norm=layer', ['norm', "'layer'", 'batch, group']),
    ('pretrained.path=a.pth', ['config.pretrained is None', "pretrained='{...}'"]),
    ('model.encoder=none', ['model.encoder']),
    ('model.auxiliary=3', ['model.auxiliary']),
    ('model.context={}', ['model.context']),
    ('model.decoder.widths=[8,8,8]', ['decoder.widths', '(8, 8, 8)']),
    ('model.head={"type": "head.Head", "dropout": 2}', ['model.head.dropout', '2']),
    ('losses.cross_entropy.class_weights=[1.0,2.0]', ['class_weights', '2 ']),
    ('losses.cross_entropy.weight=-1.0', ['losses.cross_entropy.weight', '-1.0']),
    ('losses.cross_entropy.weight=0.0', ['losses']),
    ('losses.loss={"type": "dice.dice"}', ['losses.loss', 'reserved']),
    ('batch_size=0', ['config.batch_size', '0']),
    ('batch_size=3', ['batch_size', '4 devices that share a batch; give 4']),
    ('eval_batch_size=x', ['config.eval_batch_size', "'x'"]),
    ('save_every=x', ['config.save_every', "'x'"]),
    ('workers=-1', ['config.workers', '-1']),
    ('seed=-1', ['config.seed', '-1']),
    ('seed=1099511627776', ['config.seed', '1099511627776']),
    ('steps=1000000000000000000000', ['config.steps']),
    ('optimizer.max_grad_norm=abc', ['optimizer.max_grad_norm', "'abc'"]),
    ('optimizer.b1=2.0', ['optimizer.b1', '2.0']),
    ('optimizer.weight_decay=-1.0', ['optimizer.weight_decay', '-1.0']),
    ('optimizer.learning_rate=1e999', ['optimizer.learning_rate', 'inf']),
    ('losses.cross_entropy.class_weights=abc', ['class_weights', "'abc'"]),
    ('losses.cross_entropy.class_weights=[0,0,0,0,0]', ['class_weights']),
    ('model.encoder.widths=[8.5,8]', ['model.encoder.widths', '(8.5, 8)']),
    ('model.dtype=int32', ['model.dtype', "'int32'", 'float32, bfloat16, float16']),
    ('data.samples={"train": "x"}', ['data.samples']),
    ('parallel.strategy=tensor', ['config.parallel.strategy', "'tensor'", 'jit, pmap']),
    ('schedule.warmup=99', ['schedule.warmup', '99', '12 steps']),
    ('transforms.0.horizontal=7.0', ['transforms.0.horizontal', '7.0']),
    ('transforms.²=7', ['--config.transforms.²']),
    ('data.samples={"train": 0, "val": 2}', ['train', 'empty']),
    ('inference.type=whole.whole', ['inference', "'whole.Whole'"]),
    ('task.type=os:system', ['task', 'os:system']),
    ('model.encoder.type=os:system', ['model.encoder', 'os:system']),
])
def test_a_bad_config_is_refused_before_anything_is_compiled(tmp_path, refused, argument, words):
    config = runs.write_config(tmp_path)
    refused(['train', f'--config={config}', f'--workdir={tmp_path}/work', f'--config.{argument}'],
            words)
    assert not (tmp_path / 'work' / 'config.json').exists()


def test_an_unknown_argument_is_refused(tmp_path, refused):
    refused(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
             '--confg.steps=3'], ["'--confg.steps=3'", '--config.key=value'])


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder(tmp_path, refused,
                                                                       monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = runs.write_config(tmp_path)
    for arguments, name in (
            (['train', f'--config={config}', '--workdir='], '--workdir'),
            (['evaluate', '--workdir='], '--workdir'),
            (['predict', '--workdir=run', '--input=', '--output=x'], '--input'),
            (['predict', '--workdir=run', f'--input={tmp_path}', '--output='], '--output'),
            (['inspect', f'--config={config}', '--output='], '--output')):
        refused(arguments, [f'{name}: empty'])
    assert not (tmp_path / 'config.json').exists() and not (tmp_path / 'contact_sheet.png').exists()


@pytest.mark.parametrize('workdir', ['{tmp}/' + 300 * 'x', '/proc/run', '{tmp}/a[b', '{tmp}/a*'])
def test_a_workdir_that_cannot_hold_a_run_is_refused(tmp_path, refused, workdir):
    refused(['train', f'--config={runs.write_config(tmp_path)}',
             f'--workdir={workdir.format(tmp=tmp_path)}'], ['--workdir='])


def test_a_config_that_contains_itself_is_refused(tmp_path, refused):
    for line in ("    config['data'] = config\n", "    config['transforms'] = [config]\n",
                 "    config.data = config\n"):
        path = tmp_path / 'circle.py'
        kind = 'ConfigDict({})' if '.data' in line else '{}'
        path.write_text(f'"""Circle."""\nfrom ml_collections import ConfigDict\n\n\n'
                        f'def get_config():\n    config = {kind}\n{line}    return config\n')
        refused(['train', f'--config={path}', f'--workdir={tmp_path}/work'], ['config: '])


@pytest.mark.parametrize('damage, words', [
    (lambda root: (root / 'train/masks/1.png').unlink(), ['1 images have no mask', ': 1;']),
    (lambda root: (root / 'val/images/1.jpg').unlink(), ['1 masks have no image']),
    (lambda root: os.truncate(root / 'val/images/1.jpg', 700),
     ['val/images/1.jpg: cannot be decoded']),
    (lambda root: save(root / 'val/masks/1.png', np.full((32, 40), 3)),
     ['1.png: label 3 (1280 px)']),
    (lambda root: save(root / 'train/masks/1.png', np.zeros((30, 40))),
     ['mask of 40x30', 'image of 40x32']),
    (lambda root: save(root / 'train/masks/1.png', np.full((32, 40, 3), 9)),
     ['label 9 (1280 px)']),
    (lambda root: [path.unlink() for path in (root / 'val').rglob('*.*')],
     ["split 'val' is empty"]),
    (lambda root: root.rename(root.with_name('moved')), ['data.root', 'is no folder']),
])
def test_bad_data_are_refused_before_anything_is_compiled(tmp_path, refused, damage, words):
    runs.write_folder(tmp_path / 'data')
    damage(tmp_path / 'data')
    data = "--config.data={'type': 'folder.Folder', 'root': '%s'}" % (tmp_path / 'data')
    refused(['train', f'--config={runs.write_config(tmp_path)}', f'--workdir={tmp_path}/work',
             data], words)


def save(path, pixels):
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.mark.parametrize('name, value', [
    ('JAX_PLATFORMS', 'foo'), ('JAX_NUM_CPU_DEVICES', 'x'),
    *as_trials(('JAX_ENABLE_X64', 'maybe'))])
def test_a_senseless_setting_of_jax_is_refused_in_one_line(tmp_path, name, value):
    result = runs.finish('train', f'--config={runs.write_config(tmp_path)}',
                         f'--workdir={tmp_path}/work', **{name: value})
    assert result.returncode == 2
    assert f'{name}={value}' in result.stderr and result.stderr.count('\n') == 1, result.stderr
    assert not (tmp_path / 'work').exists()
