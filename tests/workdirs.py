"""Work directories of models that nobody trained, for tests of what only reads them."""

import contextlib
import pathlib

import jax.numpy as jnp

from jaxseg.commands.assemble import ModelRecord, assemble
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.workdir import write_description
from jaxseg.data.spec import DatasetSpec
from jaxseg.training.checkpoint import Checkpoints
from tests.variables import random_variables

SMALL = {'type': 'segmentation_model.SegmentationModel', 'decoder': {'type': 'fcn.FCN'},
         'encoder': {'type': 'vgg_like.VGGLike', 'widths': [4, 8], 'depth': 1}}


def write_workdir(path: pathlib.Path, spec: DatasetSpec, model: dict | None = None,
                  size: tuple[int, int] = (32, 32), dtype: str = 'uint8') -> pathlib.Path:
    """A run with random weights as its checkpoint of step 1."""
    overlapping = ('multilabel.Multilabel', 'binary_cross_entropy')
    task, loss = overlapping if spec.overlapping else ('semantic.Semantic', 'cross_entropy')
    config = RunConfig(steps=1, batch_size=4, evaluate_every=1, data={}, model=model or SMALL,
                       task={'type': task}, losses={loss: {'type': f'{loss}.{loss}'}},
                       optimizer={}, schedule={})
    record = ModelRecord(spec.mean, spec.std, spec.value_range, (*size, spec.channels), dtype)
    parts = assemble(config, spec, record.normalization)
    write_description(path, config, spec, record, {})
    variables = random_variables(parts.model, jnp.zeros((1, *record.input_shape)), train=False)
    with contextlib.closing(Checkpoints(path.absolute() / 'checkpoints')) as checkpoints:
        checkpoints.save(1, variables, lambda state: state, 0.5)
    return path
