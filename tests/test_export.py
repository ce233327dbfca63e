"""Exported models: loaded where jaxseg is not imported, they compute what `jaxseg.load` does."""

import itertools
import json
import subprocess
import sys
import zipfile

import jax.export
import numpy as np
import onnxruntime
import pytest

import jaxseg
from jaxseg.commands import main
from jaxseg.data.spec import DatasetSpec
from jaxseg.export import onnx, stablehlo
from jaxseg.export.images import Images, export_most_general
from jaxseg.layers.platform import platform, runs_here
from tests.runs import refused
from tests.selection import default_cases
from tests.workdirs import write_workdir

# What a user needs; prints whether anything of jaxseg was imported.
LOAD = {'stablehlo': '''
import json, sys, zipfile
import numpy as np
from jax import export
with zipfile.ZipFile(sys.argv[1]) as file:
    model = export.deserialize(bytearray(file.read('model.bin')))
    metadata = json.loads(file.read('metadata.json'))
for index, images in enumerate(sys.argv[2:]):
    np.save(images.replace('.npy', '_out.npy'), model.call(np.load(images)))
print([name for name in sys.modules if name.startswith(('jaxseg', 'flax'))], metadata['classes'])
''', 'onnx': '''
import json, sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
metadata = session.get_modelmeta().custom_metadata_map
for images in sys.argv[2:]:
    outputs, = session.run(None, {'images': np.load(images)})
    np.save(images.replace('.npy', '_out.npy'), outputs)
wrong = ('jaxseg', 'flax', 'jax')
print([name for name in sys.modules if name.startswith(wrong)], json.loads(metadata['classes']))
'''}
SUFFIX = {'stablehlo': 'zip', 'onnx': 'onnx'}
RANGES = {'uint8': (0, 255), 'uint16': (0, 65535)}


@pytest.fixture(scope='module')
def workdirs(tmp_path_factory):
    """A run of classes that exclude each other; one of 16-bit images, whose classes overlap."""
    folder = tmp_path_factory.mktemp('runs')
    small = DatasetSpec('a', ('sky', 'road', 'tree'))
    deep = DatasetSpec('b', ('x', 'y'), mean=(0.4, 0.6), std=(0.2, 0.3), value_range=(0, 65535),
                       overlapping=True)
    return {'uint8': write_workdir(folder / 'a', small),
            'uint16': write_workdir(folder / 'b', deep, dtype='uint16')}


@pytest.fixture(scope='module')
def predicted(workdirs):
    """Batches of two sizes, and their probabilities by `jaxseg.load`."""
    found = {}
    for dtype, workdir in workdirs.items():
        predict = jaxseg.load(workdir)
        batches = images_of(dtype, 1, 101, 131), images_of(dtype, 2, 32, 36)
        found[dtype] = [(batch, np.stack([predict.probabilities(image) for image in batch]))
                        for batch in batches]
    return found


def export(workdir, path, *more):
    assert main(['export', f'--workdir={workdir}', f'--format={format_of(path)}',
                 f'--output={path}', *more]) == 0
    return path


def format_of(path):
    return next(name for name, suffix in SUFFIX.items() if path.suffix == f'.{suffix}')


def images_of(dtype, *shape):
    channels = 3 if dtype == 'uint8' else 2
    return np.random.default_rng(0).integers(0, RANGES[dtype][1] + 1, (*shape, channels), dtype)


def run_elsewhere(path, folder, batches):
    """The outputs of a file for batches of images, in a process of its own in another folder."""
    for index, images in enumerate(batches):
        np.save(folder / f'{index}.npy', images)
    files = [str(folder / f'{index}.npy') for index in range(len(batches))]
    result = subprocess.run([sys.executable, '-I', '-c', LOAD[format_of(path)], str(path), *files],
                            capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout, [np.load(file.replace('.npy', '_out.npy')) for file in files]


@pytest.mark.parametrize('dtype, suffix', default_cases(
    itertools.product(RANGES, SUFFIX.values()), [('uint8', 'zip'), ('uint16', 'onnx')]))
def test_a_file_for_any_size_runs_without_jaxseg(workdirs, predicted, tmp_path, capfd, dtype,
                                                 suffix):
    classes = {'uint8': ['sky', 'road', 'tree'], 'uint16': ['x', 'y']}[dtype]
    path = tmp_path / f'new/model.{suffix}'
    export(workdirs[dtype], path, '--outputs=probabilities')
    channels = 3 if dtype == 'uint8' else 2
    told = capfd.readouterr().out
    assert f'{dtype} (any, any, any, {channels}) -> probabilities' in told
    assert ('onnxruntime differs from the model by at most' in told) == (suffix == 'onnx')
    batches, wanted = zip(*predicted[dtype], strict=True)
    printed, found = run_elsewhere(path, tmp_path, batches)
    assert printed == f'[] {classes}\n'
    for probabilities, expected in zip(found, wanted, strict=True):
        assert probabilities.dtype == np.float32 and expected.shape == probabilities.shape
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        assert expected.std() > 0.05
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_masks_are_those_of_predict(workdirs, predicted, tmp_path, dtype):
    batch, probabilities = predicted[dtype][0]
    wanted = probabilities > 0.5 if dtype == 'uint16' else probabilities.argmax(-1)
    with zipfile.ZipFile(export(workdirs[dtype], tmp_path / 'a.zip')) as file:
        model = jax.export.deserialize(bytearray(file.read('model.bin')))
    session = onnxruntime.InferenceSession(export(workdirs[dtype], tmp_path / 'a.onnx'))
    for masks in (np.asarray(model.call(batch)), session.run(None, {'images': batch})[0]):
        assert masks.dtype == np.uint8
        np.testing.assert_array_equal(masks, wanted)
    assert len(np.unique(wanted)) > 1


def test_a_file_says_what_it_is(workdirs, tmp_path):
    more = '--size=32,40', '--batch=2'
    with zipfile.ZipFile(export(workdirs['uint16'], tmp_path / 'a.zip', *more)) as file:
        metadata = json.loads(file.read('metadata.json'))
    session = onnxruntime.InferenceSession(
        export(workdirs['uint16'], tmp_path / 'a.onnx', *more))
    assert session.get_inputs()[0].shape == [2, 32, 40, 2]
    stored = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in stored.items()} == metadata
    assert metadata['images'] == {'batch': 2, 'height': 32, 'width': 40, 'channels': 2,
                                  'dtype': 'uint16'}
    assert metadata['classes'] == ['x', 'y'] and metadata['overlapping']
    assert metadata['colors'] == [[0, 0, 0], [128, 0, 0]]
    assert (metadata['value_range'], metadata['outputs']) == ([0, 65535], 'mask')
    assert (metadata['checkpoint'], metadata['run'], metadata['pretrained']) == (1, 'b', None)


def test_a_stablehlo_program_is_traced_for_other_machines(workdirs, tmp_path, monkeypatch):
    monkeypatch.setattr(stablehlo, 'convert', lambda *_: (platform(), runs_here()))
    monkeypatch.setattr(stablehlo, 'write', lambda path, program, _: path.write_text(str(program)))
    path = export(workdirs['uint8'], tmp_path / 'a.zip')
    assert path.read_text() == "('cpu', False)"


def test_what_a_model_cannot_take_is_fixed_and_told():
    tried = []

    def convert(images):
        tried.append(images.shape)
        if None in images.shape[1:3]:
            raise TypeError('h is not known\nmore')
        if images.batch is None:
            raise ValueError('nor is b')
        return 'program'

    exported = export_most_general(convert, Images(None, None, 7, 3, 'uint8'), (32, 40))
    assert tried == [(None, None, 7, 3), (None, 32, 7, 3), (1, 32, 7, 3)]
    assert exported == ('program', Images(1, 32, 7, 3, 'uint8'), 'TypeError: h is not known')
    tried.clear()
    exported = export_most_general(convert, Images(2, 8, 9, 3, 'uint8'), (32, 40))
    assert tried == [(2, 8, 9, 3)] and not exported.reason


@pytest.mark.parametrize('more, words', [
    (['--output=a.onnx'], ['--output=a.onnx', 'ends in .zip']),
    (['--format=onnx'], ['--output=a.zip', 'ends in .onnx']),
    (['--output='], ['--output: empty']),
    (['--output=folder.zip'], ['folder.zip is a folder']),
    (['--size=32'], ['--size=32: give height and width', '--size=480,640']),
    (['--size=0,32'], ['--size=0,32']), (['--size=²,3'], ['--size=²,3']),
    (['--size=-4,3'], ['--size=-4,3']), (['--size=3,4,5'], ['--size=3,4,5']),
    (['--batch=0'], ['--batch=0: give 1 or more']), (['--batch=x'], ["'x'"]),
    (['--outputs=masks'], ["'masks'", 'probabilities']),
    (['--format=torch'], ["'torch'", 'stablehlo', 'onnx']),
    (['--checkpoint=7'], ["'7' is not in"]),
    (['--config.inference.type=sliding.SlidingWindow'], ['no effect in export']),
])
def test_wrong_arguments_are_refused_and_nothing_is_written(
        workdirs, tmp_path, capfd, monkeypatch, more, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.zip').mkdir()
    refused(['export', f'--workdir={workdirs["uint8"]}', '--format=stablehlo', '--output=a.zip',
             *more], words, capfd)
    assert [file.name for file in tmp_path.iterdir()] == ['folder.zip']


@pytest.mark.parametrize('name, suffix, package', [('stablehlo', 'zip', 'flatbuffers'),
                                                   ('onnx', 'onnx', 'onnx')])
def test_what_is_not_installed_is_named(workdirs, tmp_path, capfd, monkeypatch, name, suffix,
                                        package):
    monkeypatch.setitem(sys.modules, package, None)
    refused(['export', f'--workdir={workdirs["uint8"]}', f'--format={name}',
             f'--output={tmp_path}/a.{suffix}'], [package, "pip install 'jaxseg[export]'"], capfd)
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_do_is_refused(workdirs, tmp_path, capfd, monkeypatch):
    start = ['export', f'--workdir={workdirs["uint8"]}', '--format=onnx',
             f'--output={tmp_path}/a.onnx']
    refused([*start, '--config.model.dtype=bfloat16'],
            ['computes in bfloat16', '--config.model.dtype=float32'], capfd)
    monkeypatch.delitem(onnx.RULES, 'conv_general_dilated')
    refused(start, ['conv_general_dilated', 'use --format=stablehlo'], capfd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('rule, words', [
    (lambda graph, eqn, x, y: graph.node('Add', x, y), ['onnxruntime differs from the model']),
    (lambda graph, eqn, x, y: graph.node('MatMul', x, y), ['does not run the model']),
], ids=['wrong', 'failing'])
def test_a_file_that_computes_something_else_is_not_written(workdirs, tmp_path, capfd, monkeypatch,
                                                            rule, words):
    monkeypatch.setitem(onnx.RULES, 'mul', rule)
    refused(['export', f'--workdir={workdirs["uint8"]}', '--format=onnx', '--outputs=probabilities',
             f'--output={tmp_path}/a.onnx'], [*words, 'use --format=stablehlo'], capfd)
    assert not list(tmp_path.iterdir())
