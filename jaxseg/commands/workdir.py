"""A work directory: all of a run, and all that every verb needs to go on from it."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import optax

from jaxseg.build import build, check_call
from jaxseg.commands import config as configs
from jaxseg.data.device_transforms import normalize
from jaxseg.data.pipeline import pad_image
from jaxseg.data.spec import DatasetSpec, read_json
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
        # An open manager has threads, which would print tracebacks when an error ends the process.
        with contextlib.closing(Checkpoints(self.path / 'checkpoints', read_only=True)) as checkpoints:
            step = checkpoints.find(which)
            return step, checkpoints.restore_variables(step, self.shapes())

    def shapes(self) -> Any:
        """Shapes of the model's variables; nothing is compiled."""
        init = make_init(self.model, optax.identity(), (64, 64, self.spec.channels))
        return jax.eval_shape(init, 0).variables

    def predictor(self, variables: Any) -> Predictor:
        """The model as a function of images of any size."""
        return make_predictor(model=self.model, variables=variables, normalize=self.normalize, pad=pad_image,
                              channels=self.spec.channels)

    def normalize(self, images: jax.Array) -> jax.Array:
        """Images as the data room ships them, as the model takes them."""
        return normalize(images, self.spec.mean, self.spec.std)


def read_config(workdir: str | pathlib.Path) -> dict[str, Any]:
    """The config that a work directory was trained with.

    Raises:
      InputError: the folder does not exist or holds no run, or its config.json is damaged.
    """
    path, train = pathlib.Path(workdir) / 'config.json', command('train', config='FILE', workdir=workdir)
    if not path.is_file():
        what = 'holds no run (config.json is missing)' if path.parent.is_dir() else 'does not exist'
        raise InputError(f'--workdir={workdir} {what}; train first: {train}')
    try:
        config = read_json(path)
        check_config(config)
    except InputError as error:
        raise InputError(f'{path} is no config of a run ({error}); remove it, and give the experiment again: {train}') from error
    return config


def check_config(config: Mapping[str, Any]):
    """Raises InputError unless a config has the keys of a run, and values of their types."""
    from jaxseg.commands.train import run  # which imports this file; its signature is the schema

    check_call(run, {**config, 'workdir': ''}, 'config')


def open_workdir(workdir: str | pathlib.Path, overrides: Sequence[str] = ()) -> Workdir:
    """Opens a run that was trained, with config overrides such as a new place of the data.

    Raises:
      InputError: no run there, a damaged config.json or dataset.json, or overrides that do not fit.
    """
    path = pathlib.Path(workdir)
    config = configs.override(read_config(path), overrides)
    check_config(config)
    try:
        spec = DatasetSpec.load(path / 'dataset.json')
    except InputError as error:
        raise InputError(f'{path / "dataset.json"} is no description of a data set ({error}); write it anew: '
                         f'{command("train", workdir=workdir)}') from error
    return Workdir(path, config, spec, build('model', config['model'], classes=len(spec.classes)))


def check_folder(path: pathlib.Path, argument: str):
    """Raises InputError unless `path` is a folder that takes files, or can become one."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f'{argument}={path}: {there} is a file; give a folder, it is made where it does not exist')
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f'{argument}={path}: nothing can be written into {there}; give another folder, or its permissions')


def command(verb: str, **arguments: str | pathlib.Path) -> str:
    """A command line of this program that can be pasted."""
    return ' '.join(['jaxseg', verb, *(f'--{name}={shlex.quote(str(value))}' for name, value in arguments.items())])


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
                         f'another --workdir, or go on with that run: {command("train", workdir=workdir)}')


def described(workdir: pathlib.Path, default: DatasetSpec) -> DatasetSpec:
    """The data that a run was trained on; `default` where dataset.json is missing or damaged, for training writes it anew."""
    try:
        return DatasetSpec.load(workdir / 'dataset.json')
    except InputError:
        return default


def check_same_data(workdir: pathlib.Path, trained: DatasetSpec, spec: DatasetSpec, *fields: str):
    """Raises InputError if the data's description differs in `fields` from `trained`, which the run in `workdir` began with."""
    for field in fields:
        if getattr(trained, field) != getattr(spec, field):
            raise InputError(f'{workdir / "dataset.json"} says {field} {getattr(trained, field)!r}, which the run began with, '
                             f'and the data say {getattr(spec, field)!r}; give the data of the run, or train on these in another '
                             f'--workdir')


def load(workdir: str | pathlib.Path, checkpoint: str | int = 'best') -> Predictor:
    """The trained model of a work directory as a function of images.

    `predict = jaxseg.load('runs/a')`; then `predict(image)` is the mask (H, W) of an image (H, W, C) of any size, and
    `predict.probabilities(image)` the class probabilities (H, W, classes). Images are uint8 (or uint16) arrays.

    Raises:
      InputError: no run there, no such checkpoint, or one that does not fit the model.
    """
    run = open_workdir(workdir)
    _, variables = run.variables(str(checkpoint))
    return run.predictor(variables)
