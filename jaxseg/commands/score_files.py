"""What an evaluation writes and prints: JSON, the counts of every image, images, the table."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxseg.commands.overrides import file_name
from jaxseg.commands.scoring import ObservedMetrics
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import contact_sheet, overlay, reduced, save_image
from jaxseg.errors import printable
from jaxseg.processes import gathered
from jaxseg.records import write_json


class Chosen:
    """Keeps evenly spaced samples of an evaluation with their predictions, large ones reduced."""

    def __init__(self, total: int, count: int):
        self._indices = set(np.linspace(0, total - 1, count).astype(int).tolist())
        self.kept: dict[int, tuple[dict, np.ndarray]] = {}

    def __call__(self, sample: dict, prediction: np.ndarray):
        """Keeps a sample if it is one of the chosen."""
        if sample['index'] in self._indices:
            # Copies: a view would keep the whole array.
            kept: dict = {key: np.array(reduced(sample[key]))
                          for key in ('image', 'label', 'valid')}
            kept['name'] = sample['name']
            self.kept[sample['index']] = kept, np.array(reduced(prediction))

    def merge_processes(self):
        """Keeps the samples that each process has kept of its share."""
        self.kept = {index: pair for share in gathered(self.kept) for index, pair in share.items()}


class Scored(NamedTuple):
    """The scores of a split.

    Attributes:
      split: its name.
      result: what the JSON file holds.
      table: of the scores of the task.
      metrics: all other metrics.
      chosen: the samples of which images are written.
      title: what was scored, the begin of the last line: `checkpoint 1350`.
    """

    split: str
    result: Mapping[str, Any]
    table: str
    metrics: ObservedMetrics
    chosen: Chosen
    title: str


def write_scores(folder: pathlib.Path, name: str, spec: DatasetSpec, scored: Scored):
    """Writes the results, then prints them: a terminal that fails loses no score.

    Args:
      name: of the files, behind `evaluation_`.
    """
    metrics, kept = scored.metrics, scored.chosen.kept
    path = folder / f'evaluation_{name}.json'
    every_image = path.with_name(f'{path.stem}_images.csv')
    metrics.images.write(every_image)
    write_json(path, scored.result)
    images = write_images(folder / 'predictions', name, spec, kept)
    per_image = metrics.images.summary()
    print('\n\n'.join([scored.table, *metrics.tables()]))
    print(f'mean IoU of single images: mean {per_image["image_miou"]:.4f}, '
          f'lowest {per_image["lowest_image_miou"]:.4f} ({printable(metrics.images.lowest())}); '
          f'all: {every_image}')
    print(f'{scored.title}, {scored.result["images"]} images of {scored.split!r}: {path}' +
          (f', images (input, truth, prediction): {images}' if kept else ''))


def write_images(folder: pathlib.Path, name: str, spec: DatasetSpec,
                 kept: Mapping[int, tuple[dict, np.ndarray]]) -> pathlib.Path:
    """Writes input, truth and prediction side by side, and all of them, smaller, on one sheet."""
    folder.mkdir(exist_ok=True)
    rows, names = [], []
    for _, (sample, prediction) in sorted(kept.items()):
        truth = np.where(sample['valid'], sample['label'], spec.ignore_index)
        masks = (np.full_like(truth, spec.ignore_index), truth, prediction)
        overlays = [overlay(sample['image'], mask, spec) for mask in masks]
        row = np.concatenate(overlays, axis=1)
        rows.append(reduced(row))
        names.append(pathlib.PurePath(sample['name']).name)
        save_image(folder / f'{name}_{file_name(names[-1])}.png', Image.fromarray(row))
    if rows:
        save_image(folder / f'{name}.png', contact_sheet(rows, names, spec, columns=2))
    return folder
