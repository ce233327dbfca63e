"""Behaviour through the command line: what a run learns, what it reports, where it starts."""

import csv
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxseg.build import build, build_losses
from jaxseg.commands import config as configs
from jaxseg.commands import main
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.synthetic import Shapes
from jaxseg.decoders.unet import UNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.models.segmentation_model import SegmentationModel
from tests.selection import default_cases

ROOT = pathlib.Path(__file__).parents[1]
EXPERIMENTS = sorted(path.relative_to(ROOT / 'experiments') for path in (
    *(ROOT / 'experiments' / 'shapes').glob('*.py'),
    *(ROOT / 'experiments' / 'camvid').glob('*.py'), ROOT / 'experiments' / 'folder.py'))
# Two pictures, whose sides are no multiples of the model's stride.
DATA = dict(size=(34, 46), samples=dict(train=2, val=2), seed=3)
OVERFIT = dict(
    steps=80, batch_size=4, evaluate_every=80,
    data=dict(type='synthetic.Shapes', **DATA),
    model=dict(type='segmentation_model.SegmentationModel',
               encoder=dict(type='vgg_like.VGGLike', widths=[16, 32], depth=1),
               decoder=dict(type='unet.UNet', widths=[32, 16])),
    losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy')),
    optimizer=dict(type='optimizer.adamw', learning_rate=1e-2),
    schedule=dict(type='schedule.cosine', warmup=5),
)


def train(config: dict, folder: pathlib.Path) -> pathlib.Path:
    experiment, workdir = folder / 'experiment.py', folder / 'run'
    experiment.write_text(f'def get_config():\n    return {config!r}\n')
    assert main(['train', f'--config={experiment}', f'--workdir={workdir}']) == 0
    return workdir


def variables(workdir: pathlib.Path, step: int) -> dict:
    return ocp.StandardCheckpointer().restore(workdir / 'checkpoints' / str(step) / 'model')


@pytest.fixture(scope='module')
def overfitted(tmp_path_factory) -> pathlib.Path:
    workdir = train(OVERFIT, tmp_path_factory.mktemp('overfit'))
    for split in ('train', 'val'):
        assert main(['evaluate', f'--workdir={workdir}', f'--split={split}',
                     '--num_images=0']) == 0
    return workdir


def scores(workdir: pathlib.Path, split: str) -> dict:
    return json.loads((workdir / f'evaluation_{split}.json').read_text())


def test_two_pictures_are_learned_by_heart(overfitted):
    assert scores(overfitted, 'train')['miou'] > 0.95
    assert scores(overfitted, 'train')['images'] == 2


@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_score_is_that_of_a_plain_forward_pass(overfitted, split):
    """Nothing of the library but the model itself and the pictures."""
    model = SegmentationModel(VGGLike((16, 32), depth=1), UNet((32, 16)), 5)
    restored, matrix = variables(overfitted, 80), np.zeros((5, 5), int)
    apply = jax.jit(lambda variables, images: model.apply(variables, images, train=False))
    source = Shapes(**DATA).source(split)
    for sample in map(source.__getitem__, range(2)):
        image = (sample['image'].astype(np.float32) / 255 - 0.5) / 0.25
        predicted = np.asarray(apply(restored, image[None])['logits'])[0].argmax(-1)
        for row, column in np.ndindex(predicted.shape):
            matrix[sample['mask'][row, column], predicted[row, column]] += 1
    assert scores(overfitted, split)['confusion_matrix'] == matrix.tolist()
    hits = np.diag(matrix)
    with np.errstate(invalid='ignore'):
        iou = np.nanmean(hits / (matrix.sum(0) + matrix.sum(1) - hits))
    assert scores(overfitted, split)['miou'] == pytest.approx(iou)


def test_the_validation_of_a_run_is_the_evaluation_of_its_checkpoint(overfitted):
    with (overfitted / 'metrics.csv').open() as file:
        row = [row for row in csv.DictReader(file) if row['val_miou']][-1]
    expected = scores(overfitted, 'val')
    for name in ('miou', 'pixel_accuracy', 'mean_accuracy', 'frequency_weighted_iou'):
        assert float(row[f'val_{name}']) == pytest.approx(expected[name])


def first_logit(logits, labels, valid):
    """A loss whose gradient for the bias of class 0 is exactly 1."""
    return jnp.where(valid, logits[..., 0], 0).sum(), valid.sum(dtype=jnp.float32)


def test_the_rate_reported_is_the_rate_applied(tmp_path):
    """Under plain gradient descent the bias of class 0 is minus the sum of all rates so far."""
    config = {**OVERFIT, 'steps': 6, 'evaluate_every': 6, 'save_every': 5, 'report_every': 1,
              'losses': {'first_logit': {'type': 'tests.test_learning:first_logit'}},
              'optimizer': dict(type='optimizer.sgd', learning_rate=0.5, momentum=0.0,
                                weight_decay=0.0),
              'schedule': dict(type='schedule.cosine', warmup=2)}
    workdir = train(config, tmp_path)
    with (workdir / 'metrics.csv').open() as file:
        rows = [row for row in csv.DictReader(file) if row['learning_rate']]
    rates = {int(row['step']): float(row['learning_rate']) for row in rows}
    assert list(rates) == [1, 2, 3, 4, 5, 6] and len(set(rates.values())) == 6
    for step in (5, 6):  # the two latest are kept
        bias = variables(workdir, step)['params']['head']['bias']
        applied = sum(rate for at, rate in rates.items() if at <= step)
        assert float(bias[0]) == pytest.approx(-applied, rel=1e-5)
        np.testing.assert_array_equal(bias[1:], np.zeros(4))


# One of each family; the others have the same head and larger encoders.
@pytest.mark.parametrize('path', default_cases(EXPERIMENTS, [
    pathlib.Path(f'shapes/{name}.py') for name in ('convolutional', 'recurrent', 'attention')]),
    ids=str)
def test_every_experiment_starts_at_the_loss_of_even_probabilities(path):
    config = configs.from_file(str(ROOT / 'experiments' / path))
    config = RunConfig.from_mapping({**RunConfig.defaults(), **config})
    classes = tuple(f'class{i}' for i in range(11 if path.parts[0] == 'camvid' else 5))
    task = build('task', config.task, classes=classes, overlapping=False,
                 terms=build_losses(config.losses))
    model = build('model', config.model, classes=len(classes))
    # A crop is enough: the first logits do not depend on the size.
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, len(classes), (2, 64, 64))
    # These random numbers compile three times as fast as the default ones.
    streams = {name: jax.random.key(0, impl='rbg') for name in ('params', 'dropout', 'drop_path')}
    outputs = jax.jit(lambda images: model.init_with_output(streams, images, train=True)[0])(images)
    parts = task.losses(outputs, {'label': labels, 'valid': np.ones(labels.shape, bool)})
    mean = task.metrics(parts)['cross_entropy']
    assert float(mean) == pytest.approx(math.log(len(classes)), rel=0.1)
