"""Score a trained model on a split: a table in the terminal, JSON, CSV and images in its folder."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxseg.commands.assemble import windowed_note
from jaxseg.commands.overrides import check_overrides, file_name, override_names
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.postprocessing import check_split, choose, postprocessed
from jaxseg.commands.scoring import (
    EVALUATION_KEYS,
    METRICS,
    ObservedMetrics,
    metric_names,
    scored_data,
)
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.splits import FilteredSource, split_identity
from jaxseg.data.visualize import contact_sheet, overlay, save_image
from jaxseg.errors import InputError, printable
from jaxseg.processes import check_agreed, gathered, is_first
from jaxseg.records import write_json

# Number of compiled programs, one for each image size, above which a hint is printed.
MANY_SIZES = 8


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--split', default='val', help='split of the data set (default: val)')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--match', default='',
                        help='only the images whose name begins with this, such as Seq05VD')
    parser.add_argument('--num_images', type=int, default=8,
                        help='images written to predictions/ (default: 8)')
    parser.add_argument('--metrics', default='', metavar='NAME,NAME',
                        help=f'more metrics: {", ".join(METRICS)}, or all (default: none); all but '
                             f'boundary take the probabilities of every image, computed one image '
                             f'at a time instead of in batches; thresholds are for two classes or '
                             f'overlapping ones')
    cleaning = parser.add_mutually_exclusive_group()
    cleaning.add_argument('--choose_postprocessing', action='store_true',
                          help='only tries post-processing on the validation split, and writes the '
                               'areas that help to postprocess.json')
    cleaning.add_argument('--postprocess', action='store_true',
                          help='post-processes masks with these areas')
    parser.epilog = ('Keys of the config that change an evaluation: '
                     '--config.inference.type=sliding.SlidingWindow')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    if arguments.num_images < 0:
        raise InputError(f'--num_images={arguments.num_images} is negative; give 0 or more')
    if arguments.choose_postprocessing:
        check_split(arguments.split)
    check_overrides('evaluate', overrides, EVALUATION_KEYS)
    path_argument(arguments.workdir, '--workdir')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust, ensembles=True)
    names = metric_names(arguments.metrics, run.spec)
    check_folder(run.path, '--workdir')
    _, source = scored_data(run, arguments.split)
    if arguments.match:
        source = FilteredSource(source, arguments.match)
        if not len(source):
            raise InputError(f'--match={arguments.match}: no image of {arguments.split!r} begins '
                             f'with {arguments.match!r}')
    step, variables = run.variables(arguments.checkpoint)
    check_agreed('--checkpoint', step)
    check_agreed('images', split_identity(source)['sha256'])
    if arguments.choose_postprocessing:
        print(choose(run, step, variables, source))
        return
    if arguments.postprocess:
        run, _ = postprocessed(run, step)
    chosen = _Chosen(len(source), arguments.num_images)
    metrics = ObservedMetrics(run.spec.classes, names)

    def observe(sample: dict, prediction: np.ndarray):
        chosen(sample, prediction)
        metrics(sample, prediction)

    scores = run.parts.score(variables, source, run.spec, observe=observe,
                             with_probabilities=metrics.probabilities)
    metrics.merge_processes()
    chosen.merge_processes()
    windowed = run.parts.windowed()
    if is_first():
        result = {'split': arguments.split, 'match': arguments.match, 'checkpoint': step,
                  'images': len(source), 'windowed': len(windowed), 'overrides': list(overrides),
                  **scores.json(), **metrics.json()}
        _write(run, arguments, result, scores.table(), metrics, chosen)
        _print_notes(run, windowed)


def _write(run: Workdir, arguments: argparse.Namespace, result: Mapping[str, Any], table: str,
           metrics: ObservedMetrics, chosen: '_Chosen'):
    """Writes the results, then prints them: a terminal that fails loses no score."""
    changes = override_names(result['overrides'], without=('eval_batch_size',))
    match = arguments.match and file_name(arguments.match)
    scored = '_'.join(filter(None, (
        file_name(arguments.split), match, changes, 'postprocess' * arguments.postprocess)))
    path = run.path / f'evaluation_{scored}.json'
    every_image = path.with_name(f'{path.stem}_images.csv')
    metrics.images.write(every_image)
    write_json(path, result)
    folder = write_images(run, chosen.kept, scored)
    per_image = metrics.images.summary()
    print('\n\n'.join([table, *metrics.tables()]))
    print(f'mean IoU of single images: mean {per_image["image_miou"]:.4f}, '
          f'lowest {per_image["lowest_image_miou"]:.4f} ({printable(metrics.images.lowest())}); '
          f'all: {every_image}')
    print(f'checkpoint {result["checkpoint"]}, {result["images"]} images of '
          f'{arguments.split!r}: {path}' +
          (f', images (input, truth, prediction): {folder}' if arguments.num_images else ''))


def _print_notes(run: Workdir, windowed: Sequence[tuple[int, int]]):
    if windowed:
        print(windowed_note(windowed))
    if run.parts.inference.compilations > MANY_SIZES:
        print('the images have many sizes, each compiled by itself; '
              '--config.inference.type=sliding.SlidingWindow compiles one program for all')


class _Chosen:
    """Keeps evenly spaced samples of an evaluation with their predictions, decoded once."""

    def __init__(self, total: int, count: int):
        self._indices = set(np.linspace(0, total - 1, count).astype(int).tolist())
        self.kept: dict[int, tuple[dict, np.ndarray]] = {}

    def __call__(self, sample: dict, prediction: np.ndarray):
        if sample['index'] in self._indices:
            kept = {key: sample[key] for key in ('image', 'label', 'valid', 'name')}
            self.kept[sample['index']] = kept, prediction

    def merge_processes(self):
        """Keeps the samples that each process has kept of its share."""
        self.kept = {index: pair for share in gathered(self.kept) for index, pair in share.items()}


def write_images(run: Workdir, kept: Mapping[int, tuple[dict, np.ndarray]], scored: str
                 ) -> pathlib.Path:
    """Writes input, truth and prediction side by side, and all of them on one sheet."""
    folder = run.path / 'predictions'
    folder.mkdir(exist_ok=True)
    rows, names = [], []
    for _, (sample, prediction) in sorted(kept.items()):
        truth = np.where(sample['valid'], sample['label'], run.spec.ignore_index)
        masks = (np.full_like(truth, run.spec.ignore_index), truth, prediction)
        overlays = [overlay(sample['image'], mask, run.spec) for mask in masks]
        rows.append(np.concatenate(overlays, axis=1))
        names.append(pathlib.PurePath(sample['name']).name)
        save_image(folder / f'{scored}_{file_name(names[-1])}.png', Image.fromarray(rows[-1]))
    if rows:
        save_image(folder / f'{scored}.png', contact_sheet(rows, names, run.spec, columns=2))
    return folder
