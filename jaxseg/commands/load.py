"""Trained models as functions of images: of a work directory, or saved by another library."""

import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax

from jaxseg.build import build
from jaxseg.commands.assemble import ModelRecord, assemble
from jaxseg.commands.paths import expanded
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.workdir import open_workdir
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError
from jaxseg.inference.predictor import Predictor
from jaxseg.pretrained import saved_smp, saved_transformers
from jaxseg.pretrained.saved import SavedModel
from jaxseg.records import read_json

# A key of config.json by which a library is recognised.
LIBRARIES = {'_model_class': saved_smp.describe, 'architectures': saved_transformers.describe}
WEIGHTS = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin',
           'pytorch_model.bin.index.json')
RGB, SIZE = 3, 64  # channels and side of the images for which variables are shaped


def load(folder: str | os.PathLike, checkpoint: str | int = 'best', *,
         trust: Collection[str] = ()) -> Predictor:
    """The trained model of a folder as a function of images.

    `predict = jaxseg.load('runs/a')`; then `predict(image)` is the mask (H, W) of an image
    (H, W, C) of any size, and `predict.probabilities(image)` the class probabilities
    (H, W, classes). Images are arrays as the training data were read: uint8 where they had 8 bits.
    `predict.classes` has the names of the classes.

    The folder may also be one that `save_pretrained` of segmentation_models.pytorch or transformers
    wrote; its images are uint8, and are not resized. A model of smp with one class gives its mask
    as (H, W, 1).

    Args:
      folder: a work directory; that of a cross-validation is one model, the mean of its folds'
        probabilities; or a folder of another library.
      checkpoint: 'best', 'latest' or the number of its step, in every fold of a cross-validation.
      trust: packages outside of jaxseg whose code a work directory may run, if you trust who made
        it; without them only parts of jaxseg are built.

    Raises:
      InputError: no run there, a part that is not trusted, no such checkpoint, or one that does
        not fit the model; a model of another library that has no counterpart here, or `checkpoint`
        or `trust` for one.
    """
    path = expanded(folder)
    describe = _library(path / 'config.json')
    if describe is not None:
        _check_alone(path, checkpoint, trust)
        return _load_saved(path, describe(read_json(path / 'config.json'),
                                          str(path / 'config.json')))
    run = open_workdir(path, trust=trust, ensembles=True)
    _, variables = run.variables(str(checkpoint))
    return run.predictor(variables)


def _library(path: pathlib.Path) -> Any | None:
    """The reader of another library's config.json; None for one of a run, or none at all."""
    try:
        config = read_json(path)
    except InputError:  # `open_workdir` names the problem and the remedy
        return None
    return next((describe for key, describe in LIBRARIES.items() if key in config), None)


def _check_alone(path: pathlib.Path, checkpoint: str | int, trust: Collection[str]):
    """Raises InputError for what only work directories have."""
    if checkpoint != 'best':
        raise InputError(f'checkpoint={checkpoint!r}: {path} was saved by another library, and has '
                         f'one set of weights; leave checkpoint out')
    if trust:
        raise InputError(f'trust={trust!r}: {path} was saved by another library, and names no code '
                         f'to trust; leave trust out')


def _load_saved(path: pathlib.Path, saved: SavedModel) -> Predictor:
    file = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise InputError(f'{path}: no weights beside config.json; '
                         f'known are {", ".join(WEIGHTS)}')
    source = build('pretrained', {'type': saved.source, 'path': str(file)})
    mean, std = _normalization(path / 'preprocessor_config.json') or (source.mean, source.std)
    spec = DatasetSpec(str(path), saved.classes, mean=mean, std=std, overlapping=saved.overlapping)
    record = ModelRecord(mean, std, spec.value_range, (SIZE, SIZE, RGB), 'uint8')
    parts = assemble(_config(saved), spec, record.normalization)
    variables = source.load(parts.variables(record.input_shape))
    return Predictor(parts.inference, parts.layout.put_variables(variables), RGB, record.dtypes,
                     spec.classes, spec.overlapping)


def _config(saved: SavedModel) -> RunConfig:
    """A config of which only what prediction needs is used."""
    task, loss = (('multilabel.Multilabel', 'binary_cross_entropy') if saved.overlapping else
                  ('semantic.Semantic', 'cross_entropy'))
    return RunConfig(steps=1, batch_size=jax.device_count(), evaluate_every=1, data={},
                     model=saved.model, task={'type': task}, optimizer={}, schedule={},
                     losses={loss: {'type': f'{loss}.{loss}'}})


def _normalization(path: pathlib.Path) -> tuple[tuple, tuple] | None:
    """Mean and standard deviation of values between 0 and 1, if a preprocessor states them."""
    if not path.exists():
        return None
    config: Mapping[str, Any] = {'do_rescale': True, 'do_normalize': True, **read_json(path)}
    known = {'do_rescale': (True,), 'do_normalize': (True, False),
             'rescale_factor': (1 / 255, None)}
    for key, values in known.items():
        if config.get(key) not in values:
            raise InputError(f'{path}: {key} is {config.get(key)!r}; images between 0 and 255 are '
                             f'divided by 255 here')
    if not config['do_normalize']:
        return (0.0,) * 3, (1.0,) * 3
    mean, std = config.get('image_mean'), config.get('image_std')
    if not all(isinstance(values, list) and len(values) == 3 for values in (mean, std)):
        raise InputError(f'{path}: image_mean is {mean!r} and image_std {std!r}; '
                         f'three numbers each are expected')
    return tuple(mean), tuple(std)
