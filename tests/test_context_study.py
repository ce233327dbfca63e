"""The study of context layers: every layer builds at its real size; the table and its figures."""

import csv

import jax
import jax.numpy as jnp
import pytest

from experiments import context_study
from experiments.contexts import FAMILIES, contexts
from jaxseg.build import build
from tests.selection import default_cases

CONTEXTS = contexts(context_study.FEATURES)
# One layer of each family.
DEFAULT = {family: name for name, (family, _) in CONTEXTS.items()}


@pytest.mark.parametrize('name', default_cases(CONTEXTS, DEFAULT.values()))
def test_every_layer_builds_and_gives_logits_at_image_size(name):
    family, entry = CONTEXTS[name]
    assert family in FAMILIES
    model = build('model', context_study.config_of(entry, 'camvid', {})['model'], classes=11)
    images = jax.ShapeDtypeStruct((2, *context_study.REDUCED, 3), jnp.float32)
    outputs, _ = jax.eval_shape(
        lambda images: model.init_with_output(jax.random.key(0), images, train=False), images)
    logits = outputs['logits']
    assert (logits.shape, logits.dtype) == ((2, *context_study.REDUCED, 11), jnp.float32)


@pytest.mark.trials
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_the_table_is_kept_and_its_layers_are_not_trained_again(tmp_path, monkeypatch, capsys):
    recipe = dict(steps=55, batch_size=4, learning_rate=1e-3)
    monkeypatch.setitem(context_study.RECIPES, 'corner', recipe)
    path = tmp_path / 'study.csv'
    arguments = ['study', f'--workdir={tmp_path}', f'--csv={path}', f'--plot={tmp_path}/study.png',
                 f'--fields={tmp_path}/fields.png', '--datasets=corner']
    monkeypatch.setattr('sys.argv', [*arguments, '--layers=identity'])
    context_study.main()
    row, = csv.DictReader(path.read_text().splitlines())
    assert (row['dataset'], row['context'], row['parameters']) == ('corner', 'identity', '38851')
    miou, ceiling = float(row['miou']), float(row['local_ceiling'])
    assert 0 < miou <= ceiling + 0.02 and 0.55 < ceiling < 0.57
    assert float(row['milliseconds']) > 0 and float(row['radius']) < 20
    monkeypatch.setattr(context_study, 'train_row', lambda *_: pytest.fail('trained again'))
    context_study.main()
    table = capsys.readouterr().out
    assert f'| `identity` | {miou:.3f} | {row["radius"]} | 38,851 |' in table
    images = {file.name for file in tmp_path.glob('*.png')}
    assert images == {'study.png', 'fields.png', 'receptive_field_identity.png'}


def test_an_unknown_layer_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['study', f'--workdir={tmp_path}', '--layers=identity,renet'])
    with pytest.raises(SystemExit) as stopped:
        context_study.main()
    assert stopped.value.code == 2
    assert '--layers: renet is not known; known: identity, renet_gru' in capsys.readouterr().err
