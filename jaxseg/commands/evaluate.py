"""Score a trained model on a split: a table on the screen, JSON and pictures in the work directory."""

import argparse
import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxseg.build import build
from jaxseg.commands.workdir import Workdir, check_folder, check_same_data, open_workdir
from jaxseg.data.pictures import contact_sheet, overlay
from jaxseg.data.pipeline import eval_batches
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError
from jaxseg.metrics.confusion import Confusion, confusion_counts
from jaxseg.training.parallel import check_batch, put_state, put_whole_batch
from jaxseg.training.step import make_eval_step


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this verb."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--split', default='val', help='split of the data set (default: val)')
    parser.add_argument('--checkpoint', default='best', help='best, latest, or a step (default: best)')
    parser.add_argument('--match', default='', help='only the images whose name begins with this, such as Seq05VD')
    parser.add_argument('--pictures', type=int, default=8, help='pictures written to predictions/ (default: 8)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the verb."""
    run = open_workdir(arguments.workdir, overrides)
    check_folder(run.path, '--workdir')
    if arguments.pictures < 0:
        raise InputError(f'--pictures={arguments.pictures} is negative; give 0 or more')
    dataset = build('data', run.config['data'])
    check_same_data(run.path, run.spec, dataset.spec, 'classes', 'ignore_index')
    source = verified(dataset, arguments.split)
    if arguments.match:
        source = Matching(source, arguments.match)
        if not len(source):
            raise InputError(f'--match={arguments.match}: no image of {arguments.split!r} begins with {arguments.match!r}')
    step, variables = run.variables(arguments.checkpoint)
    batch_size = run.config['eval_batch_size'] or run.config['batch_size']
    check_batch(batch_size, 'eval_batch_size')
    eval_step = make_eval_step(model=run.model, normalize=run.normalize, count=functools.partial(
        confusion_counts, classes=len(run.spec.classes)))
    confusion = score(jax.jit(eval_step), variables, source=source, spec=run.spec, batch_size=batch_size)
    print(confusion.table())
    scored = arguments.split + (f'_{arguments.match}' if arguments.match else '')
    result = {'split': arguments.split, 'match': arguments.match, 'checkpoint': step, 'images': len(source),
              **confusion.json()}
    path = run.path / f'evaluation_{scored}.json'
    path.write_text(json.dumps(result, indent=1) + '\n')
    pictures = write_pictures(run, variables, source, scored, arguments.pictures)
    print(f'checkpoint {step}, {len(source)} images of {arguments.split!r}: {path}' +
          (f', pictures (image, truth, prediction): {pictures}' if arguments.pictures else ''))


def verified(dataset: Any, split: str) -> Source:
    """A split of a data set, its files checked as far as the source can do it before they are needed."""
    source = dataset.source(split)
    if hasattr(source, 'check_files'):
        source.check_files()
    return source


def score(eval_step: Callable, variables: Any, *, source: Source, spec: DatasetSpec, batch_size: int) -> Confusion:
    """The confusion matrix of a whole source, every pixel once, over all devices."""
    variables = put_state(variables)
    confusion = Confusion.empty(spec.classes)
    for batch in eval_batches(source, spec=spec, batch_size=batch_size):
        arrays = {key: batch[key] for key in ('image', 'label', 'valid')}
        confusion = confusion.add(np.asarray(eval_step(variables, put_whole_batch(arrays))))
    return confusion


def write_pictures(run: Workdir, variables: Any, source: Source, scored: str, count: int) -> pathlib.Path:
    """Writes image, truth and prediction side by side, spread evenly over the source, and all of them on one sheet."""
    folder = run.path / 'predictions'
    folder.mkdir(exist_ok=True)
    predict = run.predictor(variables)
    rows, names = [], []
    for index in np.unique(np.linspace(0, len(source) - 1, count).astype(int)) if count else ():
        sample = source[int(index)]
        masks = (np.full_like(sample['mask'], run.spec.ignore_index), sample['mask'], predict(sample['image']))
        rows.append(np.concatenate([overlay(sample['image'], mask, run.spec) for mask in masks], axis=1))
        names.append(pathlib.PurePath(sample['name']).name)
        Image.fromarray(rows[-1]).save(folder / f'{scored}_{names[-1]}.png')
    if rows:
        contact_sheet(rows, names, run.spec, columns=2).save(folder / f'{scored}.png')
    return folder


class Matching:
    """The samples of a source whose names begin with a prefix."""

    def __init__(self, source: Source, prefix: str):
        self._source = source
        self._indices = [i for i in range(len(source)) if source[i]['name'].startswith(prefix)]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int):
        return self._source[self._indices[index]]
