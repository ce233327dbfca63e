"""Every experiment builds and its step traces at its real size; notebooks run."""

import json
import os
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.commands.assemble import assemble
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.spec import DatasetSpec
from jaxseg.training.layout import init_key, step_key
from tests.selection import default_cases

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / 'colab').glob('*.ipynb'))
PARAMETERS = {
    'shapes/convolutional': 774_789, 'shapes/recurrent': 923_269, 'shapes/attention': 923_910,
    'camvid/convolutional': 3_669_515, 'camvid/half_size': 3_669_515,
    'camvid/recurrent': 4_327_179, 'camvid/attention': 4_262_668,
    'camvid/reseg': 1_377_931, 'camvid/finetune_lite0': 3_828_267,
    'nuclei/convolutional': 229_426, 'pets/convolutional': 14_053_987,
    # `lite0_from_scratch` and `convolutional_long` have the parts of others.
}


@pytest.mark.parametrize('name', PARAMETERS)
def test_an_experiment_builds_and_its_step_traces_at_its_real_size(name):
    config = RunConfig.from_mapping(configs.from_file(str(ROOT / 'experiments' / f'{name}.py')))
    crops = [entry['size'] for entry in config.transforms if entry['type'].endswith('RandomCrop')]
    height, width = crops[0] if crops else (64, 96)
    classes = len(config.data.get('classes', ())) or (11 if 'camvid' in name else 5)
    channels = config.data.get('channels', 3)
    spec = DatasetSpec('data', tuple(map(str, range(classes))), mean=(0.5,) * channels,
                       std=(0.25,) * channels)
    parts = assemble(config, spec,
                     {'mean': spec.mean, 'std': spec.std, 'value_range': spec.value_range})
    schedule = build('schedule', config.schedule, steps=config.steps)
    optimizer = build('optimizer', config.optimizer, schedule=schedule)
    build('transforms', config.transforms)
    algorithm = build('algorithm', config.algorithm, model=parts.model, task=parts.task,
                      optimizer=optimizer, preprocess=parts.preprocess, axis_name=None)
    shape = (config.batch_size, height, width)
    batch = {'image': jax.ShapeDtypeStruct((*shape, channels), jnp.uint8),
             'label': jax.ShapeDtypeStruct(shape, jnp.int32),
             'valid': jax.ShapeDtypeStruct(shape, bool)}
    state = jax.eval_shape(lambda batch: algorithm.init(init_key(0), batch), batch)
    params = algorithm.variables(state)['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name]
    after, metrics = jax.eval_shape(
        lambda state, batch: algorithm.step(state, batch, step_key(0, 0)), state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert set(metrics) == {'loss', 'gradient_norm', 'learning_rate', *config.losses}
    if name.startswith('shapes/'):
        variables = parts.variables((height, width, channels))
        assert jax.tree.structure(variables) == jax.tree.structure(algorithm.variables(state))


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::RuntimeWarning',
                            'ignore::ResourceWarning')
@pytest.mark.parametrize('name', default_cases(NOTEBOOKS, {'quickstart', 'own_data'}))
def test_a_notebook_runs_from_top_to_bottom(name, monkeypatch, tmp_path):
    import nbclient
    import nbformat

    monkeypatch.setenv('JAXSEG_FAST', '1')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    notebook = nbformat.read(ROOT / 'colab' / f'{name}.ipynb', 4)
    outputs = [cell for cell in notebook.cells if cell.get('outputs')]
    assert not outputs, 'clear the outputs before committing'
    nbclient.NotebookClient(notebook, timeout=900, kernel_name='python3',
                            resources={'metadata': {'path': str(tmp_path)}}).execute()
    assert 'image/png' in json.dumps(notebook.cells[-1])


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_stops_with_its_training_and_can_be_run_again_with_other_steps(name):
    cells = json.loads((ROOT / 'colab' / f'{name}.ipynb').read_text())['cells']
    code = '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    assert code.count('jaxseg.run(') == code.count('raise KeyboardInterrupt') == 1
    workdirs = re.findall(r"runs/[^'\n]*", code)
    assert workdirs and all('{steps}' in workdir for workdir in workdirs)
    assert len(re.findall(r'\bsteps \S?= ', code)) == 1  # the form field alone sets it
