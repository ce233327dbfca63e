"""Check every file of a data set, and draw augmented training samples."""

import argparse
import itertools
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.build import build
from jaxseg.commands.paths import check_folder, path_argument
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.workdir import merged_config
from jaxseg.data.inspection import Frequencies, listing_problems, look_through
from jaxseg.data.pipeline import check_batches, train_batches
from jaxseg.data.sample_check import Shown, absent_classes, background_alone
from jaxseg.data.spec import Source
from jaxseg.data.visualize import as_rgb, contact_sheet, overlay, save_image
from jaxseg.errors import InputError, printable

SAMPLES = 8


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--config', help='experiment file; without it that of --workdir')
    parser.add_argument('--workdir', help='folder of a run')
    parser.add_argument('--output', default='.',
                        help='folder that receives contact_sheet.png (default: this one)')


def main(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the subcommand; the exit status is 2 when there are problems."""
    if not arguments.config and not arguments.workdir:
        raise InputError('give --config=FILE, or the --workdir of a run')
    if not arguments.config:
        path_argument(arguments.workdir, '--workdir')
    config = RunConfig.from_mapping(
        merged_config(arguments.config or None, arguments.workdir, overrides, arguments.trust))
    folder = path_argument(arguments.output, '--output')
    problems = inspect(data=config.data, transforms=config.transforms,
                       preprocess=config.preprocess, seed=config.seed, folder=folder)
    if problems:
        print(f'\n{len(problems)} problems:', *map(printable, problems), sep='\n  ',
              file=sys.stderr)
    return 2 if problems else 0


def inspect(*, data: Mapping, transforms: Sequence, preprocess: Mapping, seed: int,
            folder: pathlib.Path) -> list[str]:
    """Checks all splits of a data set, which must have what training needs: 'train'.

    Returns:
      All problems; where there are none, `folder` has received contact_sheet.png.

    Raises:
      InputError: something in the config cannot be used, or `folder` cannot be written.
    """
    dataset = build('data', data)
    augmentation = build('transforms', transforms)
    check_folder(folder, '--output')
    spec = dataset.spec
    preprocess = build('preprocess', preprocess, classes=spec.classes, mean=spec.mean,
                       std=spec.std, value_range=spec.value_range)
    problems = [problem for split in dict.fromkeys(('train', *spec.splits))
                for problem in inspect_split(dataset, split)]
    if not problems:
        problems = batch_problems(dataset, augmentation)
    if not problems:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / 'contact_sheet.png'
        write_contact_sheet(dataset, augmentation, seed, path)
        on_device = [type(part).__name__ for part in getattr(preprocess, 'augmentations', ())]
        without = f' (without {", ".join(on_device)} on the device)' if on_device else ''
        print(f'\nno problems; augmented training samples{without}: {path}')
    return problems


def inspect_split(dataset: Any, split: str) -> list[str]:
    """Prints what is in a split, its pixel values and class frequencies; returns its problems."""
    problems = listing_problems(dataset, split)
    try:
        source = _readable(dataset, split)
    except InputError as error:
        return list(dict.fromkeys([*problems, str(error)]))
    found, frequencies = look_through(source, dataset.spec)
    skipped = getattr(source, 'skipped', '')
    print(f'\n{printable(split)}: {len(source)} samples' + (f' ({skipped})' if skipped else ''))
    if frequencies.samples:
        low, high = dataset.spec.value_range
        measured = '{:.6g} to {:.6g}'.format(*frequencies.value_range)
        print(f'pixel values {measured}, data.value_range {low:.6g} to {high:.6g}')
    print(frequencies.table())
    if not len(source) and not problems:
        problems = [f'{split}: no samples; give the split at least one']
    if split == 'train' and not problems + found:
        found = _unlearnable(frequencies)
    return problems + found


def _readable(dataset: Any, split: str) -> Source:
    """A split; where its listing is broken, the files that pair are left to check."""
    try:
        return dataset.source(split)
    except InputError:
        if not hasattr(dataset, 'paired'):
            raise
    return dataset.paired(split)


def _unlearnable(found: Frequencies) -> list[str]:
    """Training masks without the second class are a problem; absent classes are printed."""
    shown = Shown(found.pixels > 0, found.labelled > 0, found.void > 0)
    problem = background_alone(shown, found.spec, found.samples)
    if not problem and not shown.classes.all():
        print(absent_classes(shown, found.spec))
    return [problem] if problem else []


def batch_problems(dataset: Any, transforms: Sequence[Callable]) -> list[str]:
    """Whether augmented images have several sizes, which cannot form a batch."""
    try:
        check_batches(dataset.source('train'), spec=dataset.spec, transforms=transforms)
    except InputError as error:
        return [str(error)]
    return []


def write_contact_sheet(dataset: Any, transforms: Sequence[Callable], seed: int,
                        path: pathlib.Path):
    """Writes augmented samples of the split 'train', each beside its overlay."""
    batches = train_batches(dataset.source('train'), spec=dataset.spec, batch_size=1, seed=seed,
                            transforms=transforms)
    images, captions = [], []
    for batch in itertools.islice(batches, SAMPLES):
        image, name = batch['image'][0], batch['name'][0]
        mask = np.where(batch['valid'][0], batch['label'][0], dataset.spec.ignore_index)
        images += [as_rgb(image, dataset.spec.value_range), overlay(image, mask, dataset.spec)]
        captions += [name, '']
    save_image(path, contact_sheet(images, captions, dataset.spec))
