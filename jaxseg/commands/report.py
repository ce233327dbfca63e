"""Write one HTML page on a trained model: curves, scores, images, warnings, provenance."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.commands.examination import (
    Drawing,
    Examination,
    answers,
    choose,
    class_notes,
    examine,
    uncertainty,
)
from jaxseg.commands.overrides import check_overrides
from jaxseg.commands.paths import page_path, path_argument
from jaxseg.commands.provenance import config_lines, provenance
from jaxseg.commands.report_sections import (
    curves,
    image_histogram,
    matrix_section,
    object_section,
    reliability,
    score_table,
    summary,
    threshold_section,
)
from jaxseg.commands.report_warnings import data_warnings, run_warnings
from jaxseg.commands.scoring import EVALUATION_KEYS, scored_data
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.fingerprint import Fingerprint, fingerprint
from jaxseg.data.spec import Source
from jaxseg.errors import InputError
from jaxseg.files import replacing
from jaxseg.inference.postprocess import decide
from jaxseg.report.gallery import ERROR, UNCERTAINTY, Picture, gallery
from jaxseg.report.markup import Markup, element, joined
from jaxseg.report.page import page
from jaxseg.training.report import read_metrics

GROUPS = {'worst': 'Worst images', 'median': 'Median images', 'best': 'Best images'}

FURTHER = (('calibration', 'Reliability of the probabilities', reliability),
           ('objects', 'Objects by size', object_section),
           ('thresholds', 'Thresholds', threshold_section))


def add_arguments(parser: argparse.ArgumentParser):
    """The arguments of this subcommand."""
    parser.add_argument('--workdir', required=True, help='folder of a trained run')
    parser.add_argument('--split', default='val', help='split of the data set (default: val)')
    parser.add_argument('--checkpoint', default='best',
                        help='best, latest, or a step (default: best)')
    parser.add_argument('--output',
                        help='the page, FILE.html (default: report.html in the work directory)')
    parser.add_argument('--num_images', type=int, default=12,
                        help='images in the page: best, median and worst (default: 12)')
    parser.epilog = ('Keys of the config that change an evaluation: '
                     '--config.inference.type=sliding.SlidingWindow')


def main(arguments: argparse.Namespace, overrides: Sequence[str]):
    """Runs the subcommand."""
    if arguments.num_images < 0:
        raise InputError(f'--num_images={arguments.num_images} is negative; give 0 or more')
    check_overrides('report', overrides, EVALUATION_KEYS)
    path_argument(arguments.workdir, '--workdir')
    run = open_workdir(arguments.workdir, overrides, trust=arguments.trust, ensembles=True)
    output = page_path(run.path / 'report.html' if arguments.output is None else arguments.output,
                       '--output')
    dataset, source = scored_data(run, arguments.split)
    examination = examine(run, source, arguments.checkpoint)
    pictures = draw(run, source, examination, arguments.num_images)
    found = measure_data(dataset, arguments.split, source)
    facts = provenance(run, arguments, overrides, source, examination.step)
    text = compose(run, arguments.split, examination, pictures, found, facts)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as partial:
        partial.write_text(text, encoding='utf-8')
    print(f'checkpoint {examination.step}, {len(source)} images of {arguments.split!r}, '
          f'{len(text.encode()) / 1e6:.1f} MB: {output}')


def measure_data(dataset: Any, split: str, source: Source) -> Fingerprint | InputError:
    """What the training images and those of the split are like, or why that is not known."""
    try:
        return fingerprint({'train': dataset.source('train'), split: source}, dataset.spec)
    except InputError as error:  # The training images need not be there any more.
        return error


def draw(run: Workdir, source: Source, examination: Examination, count: int
         ) -> dict[str, list[Picture]]:
    """The best, median and worst images with their layers, by group."""
    scores = examination.image_scores
    groups = choose(scores, count)
    indices = sorted(index for group in groups.values() for index in group)
    drawing, drawn = Drawing(run.spec), {}
    _, spread = uncertainty(run)
    placed, iou = run.place(examination.variables), examination.metrics.images.iou()
    for index, sample, probabilities in answers(run, placed, source, indices):
        mask = decide(run.parts.inference, run.parts.task, probabilities)
        layers = {'Truth': drawing.truth(sample), 'Prediction': drawing.prediction(mask),
                  ERROR: drawing.error(sample, mask),
                  UNCERTAINTY: drawing.heat(spread(placed, sample['image'], probabilities))}
        drawn[index] = Picture(
            sample['name'], f'IoU {100 * scores[index]:.1f} %',
            class_notes(iou[index], sample, run.spec), drawing.image(sample), layers,
            mask.shape[:2])
    return {GROUPS[name]: [drawn[index] for index in group] for name, group in groups.items()}


def compose(run: Workdir, split: str, examination: Examination,
            pictures: Mapping[str, Sequence[Picture]], found: Fingerprint | InputError,
            facts: Sequence[tuple[str, str]]) -> str:
    """The page."""
    spec, scores, states = run.spec, examination.scores, examination.metrics.states
    legend = list(zip(spec.classes, spec.colors, strict=True))
    measure, _ = uncertainty(run)
    hints = {'Truth': 'the labels; void is left uncolored', 'Prediction': 'of the model',
             ERROR: 'labelled pixels whose prediction is wrong', UNCERTAINTY: measure}
    rows = read_metrics(pathlib.Path(run.path) / 'metrics.csv')
    images = gallery(pictures, 'Prediction', hints, legend) if any(pictures.values()) else None
    sections = [
        ('summary', '', summary(run.spec.name, split, examination)),
        ('warnings', 'Warnings', _warnings(run, examination, split, rows, found)),
        ('curves', 'Training', curves(rows, examination.step, run.config.best.metric)),
        ('scores', 'Scores of the classes', score_table(scores, spec)),
        ('confusions', 'Confusions', matrix_section(scores)),
        *((key, heading, section(states[key]))
          for key, heading, section in FURTHER if key in states),
        ('images', 'Images', joined(image_histogram(examination.image_scores), images)),
        ('provenance', 'Provenance', _provenance(run, facts))]
    title = f'{run.path.resolve().name}: data set {spec.name}, split {split}'
    return page(title, sections, {'names': list(spec.classes), 'checkpoint': examination.step,
                                  'images': len(examination.metrics.images.names), **scores.json()})


def _warnings(run: Workdir, examination: Examination, split: str, rows: Sequence[Mapping],
              found: Fingerprint | InputError) -> Markup:
    known = isinstance(found, Fingerprint)
    texts = [*run_warnings(run, examination, split, rows), *(
        data_warnings(found) if known else [f'The training images cannot be measured: {found}'])]
    items = element('ul', [element('li', text) for text in texts], class_='warnings')
    numbers = known and element('details', element('summary', 'The data in numbers'),
                                element('pre', found.table()))
    return joined(items if texts else element('p', 'None found.'), numbers or None)


def _provenance(run: Workdir, facts: Sequence[tuple[str, str]]) -> Markup:
    config = [element('b', line) if changed else line for line, changed in config_lines(run.config)]
    lines = [part for line in config for part in (line, '\n')]
    return joined(
        element('dl', [(element('dt', name), element('dd', value)) for name, value in facts]),
        element('details', element('summary', 'Configuration'),
                element('p', 'Keys that differ from the defaults of a run are marked.',
                        class_='muted'), element('pre', lines)))
