"""A work directory: all of a run, and all that every verb needs to go on from it."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.data.device_transforms import normalize
from jaxseg.data.pipeline import pad_image
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.inference.whole import Predictor, make_predictor
from jaxseg.training.checkpoint import Checkpoints
from jaxseg.training.state import make_init

# What a stopped run may go on with in another way: where its data lies now, and how its work is spread and told.
FREE = ('data.root', 'data.directory', 'parallel', 'workers', 'report_every')


@dataclasses.dataclass(frozen=True)
class Workdir:
    """An opened work directory: its config, its data set's description, its model."""

    path: pathlib.Path
    config: dict[str, Any]
    spec: DatasetSpec
    model: nn.Module

    def variables(self, which: str) -> tuple[int, Any]:
        """Step and variables of the checkpoint called 'best', 'latest' or by its number."""
        checkpoints = Checkpoints(self.path / 'checkpoints')
        step = checkpoints.find(which)
        variables = checkpoints.restore_variables(step, self.shapes())
        checkpoints.close()
        return step, variables

    def shapes(self) -> Any:
        """Shapes of the model's variables; nothing is compiled."""
        init = make_init(self.model, optax.identity(), (64, 64, self.spec.channels))
        return jax.eval_shape(init, 0).variables

    def normalize(self, images: jax.Array) -> jax.Array:
        """Images as the data room ships them, as the model takes them."""
        return normalize(images, self.spec.mean, self.spec.std)


def read_config(workdir: str | pathlib.Path) -> dict[str, Any]:
    """The config that a work directory was trained with.

    Raises:
      InputError: the folder does not exist or holds no run.
    """
    path = pathlib.Path(workdir) / 'config.json'
    if not path.is_file():
        what = 'holds no run (config.json is missing)' if path.parent.is_dir() else 'does not exist'
        raise InputError(f'--workdir={workdir} {what}; train first: jaxseg train --config=FILE --workdir={workdir}')
    return json.loads(path.read_text())


def open_workdir(workdir: str | pathlib.Path, overrides: Sequence[str] = ()) -> Workdir:
    """Opens a run that was trained, with config overrides such as a new place of the data."""
    path = pathlib.Path(workdir)
    config = configs.override(read_config(path), overrides)
    spec = DatasetSpec.load(path / 'dataset.json')
    return Workdir(path, config, spec, build('model', config['model'], classes=len(spec.classes)))


def write_description(path: pathlib.Path, config: Mapping[str, Any], spec: DatasetSpec):
    """Writes config.json and dataset.json."""
    path.mkdir(parents=True, exist_ok=True)
    spec.save(path / 'dataset.json')
    # config.json comes last, and whole: where it is, there is a run to go on with.
    partial = path / 'config.partial'
    partial.write_text(json.dumps(config, indent=1) + '\n')
    os.replace(partial, path / 'config.json')


def check_same_run(workdir: pathlib.Path, config: Mapping[str, Any]):
    """Raises InputError if `workdir` holds a run of another config: its checkpoints would mix two experiments."""
    if not (workdir / 'config.json').is_file():
        return
    changed = configs.difference(read_config(workdir), config)
    changed = {key: values for key, values in changed.items() if key not in FREE}
    if changed:
        key, (old, new) = next(iter(changed.items()))
        more = f' and {len(changed) - 1} more keys differ' if len(changed) > 1 else ''
        raise InputError(f'--workdir={workdir} holds a run with {key} = {old!r}, this config has {new!r}{more}; give '
                         f'another --workdir, or go on with that run: jaxseg train --workdir={workdir}')


def load(workdir: str | pathlib.Path, checkpoint: str | int = 'best') -> Predictor:
    """The trained model of a work directory as a function of images.

    `predict = jaxseg.load('runs/a')`; then `predict(image)` is the mask (H, W) of an image (H, W, C) of any size, and
    `predict.probabilities(image)` the class probabilities (H, W, classes). Images are uint8 (or uint16) arrays.

    Raises:
      InputError: no run there, no such checkpoint, or one that does not fit the model.
    """
    run = open_workdir(workdir)
    _, variables = run.variables(str(checkpoint))
    variables = jax.tree.map(jnp.asarray, variables)
    return make_predictor(model=run.model, variables=variables, normalize=run.normalize, pad=pad_image)
