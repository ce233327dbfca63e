"""The sections of a page on a run: from metric states and rows of metrics.csv to HTML."""

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.commands.examination import Examination
from jaxseg.data.spec import DatasetSpec
from jaxseg.report.charts import bar_chart, line_chart, reliability_chart
from jaxseg.report.markup import Markup, element, joined
from jaxseg.report.tables import (
    confusion_matrix,
    percent,
    sortable,
    top_confusions,
)

SCORES = {'iou': 'IoU %', 'dice': 'Dice %', 'precision': 'precision %', 'recall': 'recall %'}
SUMMARY = {'miou': 'mean IoU', 'pixel_accuracy': 'pixel accuracy', 'mean_accuracy': 'mean accuracy',
           'mean_dice': 'mean Dice', 'mean_precision': 'mean precision',
           'mean_recall': 'mean recall'}
# Metrics of a training step that are no losses.
NO_LOSS = ('learning_rate', 'gradient_norm', 'images_per_second', 'data_wait')
WEAK = 3
AREA = 'pixels of an object, from this number to the next'
MOST_CURVES = 6  # classes whose threshold curves are drawn


def summary(name: str, split: str, examination: Examination) -> Markup:
    """The main numbers, and in a sentence what they say."""
    scores, step = examination.scores, examination.step
    values, iou = scores.summary(), scores.per_class()['iou']
    facts = [(f'{percent(values[key])} %', label) for key, label in SUMMARY.items()
             if key in values][:4]
    facts += [(f'{len(examination.image_scores):,}', f'images of {split}'),
              (f'{len(step)}', 'models, their mean') if isinstance(step, tuple) else
              (f'{step:,}', 'checkpoint, step')]
    boxes = [element('div', element('b', value), element('span', label), class_='fact')
             for value, label in facts]
    known = [int(k) for k in np.argsort(iou) if not math.isnan(iou[k])]
    weakest = ', '.join(f'{scores.classes[k]} ({percent(iou[k])} %)' for k in known[:WEAK])
    best = f'{scores.classes[known[-1]]} ({percent(iou[known[-1]])} %)' if known else 'none'
    text = (f'A model of {len(scores.classes)} classes on the split {split!r} of the data set '
            f'{name}. IoU is the overlap of prediction and truth divided by their union: 100 % is '
            f'perfect, and every class counts alike in its mean. Best class: {best}; weakest: '
            f'{weakest or "none"}.')
    return joined(element('p', text), element('div', boxes, class_='facts'))


def curves(rows: Sequence[Mapping[str, float]], step: int | tuple[int, ...], metric: str
           ) -> Markup:
    """Losses, scores of validations, and what else metrics.csv holds, over the steps.

    Args:
      metric: the score that chooses the best checkpoint, drawn first.
    """
    if isinstance(step, tuple):
        return element('p', 'Each model of an ensemble has curves of its own: give its folder to '
                       'jaxseg report.', class_='muted')
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key != 'step' and math.isfinite(value):
                series.setdefault(key, []).append((row['step'], value))
    if not series:
        return element('p', 'metrics.csv is missing or empty: no curves.', class_='muted')
    best = f'val_{metric}'
    validation = {key: series[key] for key in sorted(series, key=lambda key: key != best)
                  if key.startswith('val_')}
    losses = {key: points for key, points in series.items()
              if key not in validation and key not in NO_LOSS}
    if 'loss' in losses and any(name != 'loss' and points == losses['loss']
                                for name, points in losses.items()):
        del losses['loss']  # a single loss of weight 1 is the total
    charts = [('Losses in training', losses, None),
              ('Scores in validation', validation, _unit_range(validation)),
              *((key.replace('_', ' ').capitalize(), {key: series[key]}, None)
                for key in NO_LOSS[:2] if key in series)]
    drawn = [line_chart(title, _named(lines), x_label='step', y_range=y_range, mark=step,
                        mark_label='this checkpoint') for title, lines, y_range in charts if lines]
    return element('div', drawn, class_='charts')


def curves_of_runs(rows: Mapping[str, Sequence[Mapping[str, float]]], metrics: Iterable[str]
                   ) -> Markup:
    """Loss in training and scores in validation of several runs.

    Args:
      metrics: the scores that choose the best checkpoints.
    """
    charts = []
    for key in dict.fromkeys(('loss', *(f'val_{metric}' for metric in metrics))):
        title = 'Loss in training' if key == 'loss' else f'Validation: {_words(key)}'
        lines = {name: [(row['step'], row[key]) for row in each
                        if math.isfinite(row.get(key, math.nan))] for name, each in rows.items()}
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            y_range = None if key == 'loss' else _unit_range(lines)
            charts.append(line_chart(title, lines, x_label='step', y_range=y_range))
    return element('div', charts, class_='charts') if charts else element(
        'p', 'No run has a metrics.csv: no curves.', class_='muted')


def _unit_range(lines: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[int, int] | None:
    """0 to 1 where all values are within, as those of most scores; else that of the values."""
    inside = all(0 <= y <= 1 for points in lines.values() for _, y in points)
    return (0, 1) if inside else None


def _named(lines: Mapping[str, Sequence]) -> dict[str, Sequence]:
    return {_words(key): points for key, points in lines.items()}


def _words(column: str) -> str:
    """A column of metrics.csv in words."""
    words = (('val_', ''), ('miou', 'mean IoU'), ('_iou', ' IoU'), ('_', ' '))
    return functools.reduce(lambda text, pair: text.replace(*pair), words, column)


def score_table(scores: Any, spec: DatasetSpec) -> Markup:
    """One row a class."""
    values, share = scores.per_class(), label_share(scores)
    rows = [(name, *(float(values[key][k]) for key in SCORES), float(share[k]))
            for k, name in enumerate(spec.classes)]
    return joined(
        sortable(('class', *SCORES.values(), '% of the pixels'), rows, bars='IoU %',
                 swatches=spec.colors, label='scores of the classes'),
        element('p', 'Click a column to sort. A dash: the class is in neither labels nor '
                'predictions, or nothing is divided by; such classes are left out of means.',
                class_='muted'))


def label_share(scores: Any) -> np.ndarray:
    """The share of the valid pixels that have the label of each class."""
    if hasattr(scores, 'matrix'):
        return scores.matrix.sum(1) / max(scores.matrix.sum(), 1)
    return scores.counts[:, 1].sum(-1) / np.maximum(scores.counts.sum((1, 2)), 1)


def matrix_section(scores: Any) -> Markup:
    """Which classes are taken for which; of overlapping classes, what is found and missed."""
    if hasattr(scores, 'matrix'):
        return joined(
            element('p', 'Each row is a true class: how many per cent of its pixels are predicted '
                    'as each class. Blue is right, orange is wrong; a dot is less than half a per '
                    'cent.'),
            confusion_matrix(scores.matrix, scores.classes), element('h3', 'Main confusions'),
            top_confusions(scores.matrix, scores.classes))
    rows = [(name, int(tp), int(fp), int(fn), int(tn)) for name, ((tn, fp), (fn, tp))
            in zip(scores.classes, scores.counts, strict=True)]
    columns = ('class', 'found (TP)', 'false alarms (FP)', 'missed (FN)', 'rightly left out (TN)')
    return joined(element('p', 'Classes may overlap, so each is counted by itself, in pixels.'),
                  sortable(columns, rows, label='counts of the classes'))


def reliability(calibration: Any) -> Markup:
    """Whether the probabilities are what they say, and of which classes they are not."""
    values, bins = calibration.summary(), calibration.reliability()
    pixels, edges = bins['pixels'], np.linspace(0, 1, len(bins['pixels']) + 1)
    share = pixels / max(pixels.sum(), 1)
    chart = reliability_chart('Accuracy by confidence', list(zip(
        edges[:-1].tolist(), edges[1:].tolist(), bins['accuracy'].tolist(), share.tolist(),
        strict=True)))
    gap = values['confidence'] - values['accuracy']
    said = ('about as sure as it should be' if abs(gap) < 0.02 else
            'too sure' if gap > 0 else 'not sure enough')
    text = (f'Of the pixels to which the model gives a confidence of 80 %, 80 % should be right. '
            f'Here the mean confidence is {percent(values["confidence"])} % and '
            f'{percent(values["accuracy"])} % are right: the model is {said}. The expected '
            f'calibration error (ECE, the mean distance of the two, 0 is perfect) is '
            f'{percent(values["ece"])} %.')
    per_class = calibration.per_class()
    rows = [(name, *(float(per_class[key][k]) for key in ('ece', 'confidence', 'frequency')))
            for k, name in enumerate(calibration.classes)]
    table = sortable(('class', 'ECE %', 'mean probability %', 'frequency %'), rows,
                     label='calibration of the classes')
    return joined(element('p', text), element('div', chart, class_='charts'),
                  element('details', element('summary', 'Calibration of each class'), table))


def object_section(objects: Any) -> Markup:
    """Which share of the objects is found, by their size."""
    sizes, by_size = objects.json()['sizes'], objects.recall_by_size()
    total = {key: np.nansum(values, 0) for key, values in (
        ('objects', by_size['objects']),
        ('matched', by_size['recall'] * by_size['objects']))}
    spans = [f'{low:,} to {high - 1:,} pixels' for low, high in itertools.pairwise(sizes)]
    spans, labels = [*spans, f'{sizes[-1]:,} pixels and more'], [f'{size}' for size in sizes]
    bars = [(label, 100 * matched / count if count else math.nan,
             f'{span}: {matched:.0f} of {count:.0f} objects found')
            for label, span, count, matched
            in zip(labels, spans, total['objects'], total['matched'], strict=True)]
    last = max((i for i, count in enumerate(total['objects']) if count), default=-1)
    if last < 0:
        return element('p', 'No objects in the labels.', class_='muted')
    first = min(i for i, count in enumerate(total['objects']) if count)
    recall_chart = bar_chart('Objects found, by their size', bars[first:last + 1],
                             x_label=AREA, y_label='found, %', y_range=(0, 100),
                             form='{:.0f}'.format)
    counts = [(label, float(count), f'{span}: {count:.0f} objects')
              for label, span, count in zip(labels, spans, total['objects'], strict=True)]
    count_chart = bar_chart('Number of objects, by their size', counts[first:last + 1],
                            x_label=AREA, y_label='objects', form='{:.0f}'.format)
    values = objects.per_class()
    rows = [(name, int(values['objects'][k]), *(float(values[key][k]) for key in (
        'recall', 'pixel_recall', 'ap50', 'pq'))) for k, name in enumerate(objects.classes)]
    table = sortable(('class', 'objects', 'found %', 'pixels found %', 'AP50 %', 'PQ %'), rows,
                     bars='found %', label='objects of the classes')
    text = ('An object is a connected area of one class in the labels. It is found if one '
            'connected area of the prediction overlaps it with an IoU above 50 %.')
    return joined(element('p', text),
                  element('div', recall_chart, count_chart, class_='charts'), table)


def threshold_section(thresholds: Any) -> Markup:
    """How scores change with the probability from which on a class is predicted."""
    curves, at = thresholds.curves(), thresholds.thresholds.tolist()
    best, values = thresholds.best(), thresholds.per_class()
    charts = []
    for k in np.argsort(-np.nan_to_num(curves['iou'].max(1)), kind='stable')[:MOST_CURVES]:
        lines = {names: [(x, float(y)) for x, y in zip(at, curves[key][k], strict=True)
                         if not math.isnan(y)]
                 for key, names in (('iou', 'IoU'), ('precision', 'precision'),
                                    ('recall', 'recall'))}
        lines = {key: points for key, points in lines.items() if points}
        if lines:
            charts.append(line_chart(thresholds.classes[k], lines, x_label='threshold',
                                     y_range=(0, 1), mark=at[best[k]],
                                     mark_label=f'best IoU, at {at[best[k]]:.2f}'))
    rows = [(name, f'{values["threshold"][k]:.2f}', float(values['iou'][k]),
             float(values['iou_at_half'][k])) for k, name in enumerate(thresholds.classes)]
    table = sortable(('class', 'best threshold', 'IoU there %', 'IoU at 0.50 %'), rows,
                     label='thresholds of the classes')
    text = ('A class is predicted where its probability is above a threshold. A threshold chosen '
            'here scores too well here: choose it on validation images, score it on test images.')
    return joined(element('p', text), element('div', charts, class_='charts'), table)


def image_histogram(scores: np.ndarray) -> Markup:
    """How many images have which mean IoU."""
    known = scores[~np.isnan(scores)]
    if known.size < 2:
        return joined()
    counts, edges = np.histogram(known, bins=20, range=(0, 1))
    bars = [(f'{100 * low:.0f}', float(count), f'{count} images from {100 * low:.0f} to '
             f'{100 * high:.0f} %')
            for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)]
    chart = bar_chart('Images by their mean IoU', bars, x_label='mean IoU of the image, %',
                      y_label='images')
    unlabelled = scores.size - known.size
    note = (f'The mean IoU of an image is that of the classes that it has or is said to have. '
            f'Median {percent(float(np.median(known)))} %, lowest {percent(float(known.min()))} %, '
            f'highest {percent(float(known.max()))} %.')
    note += f' {unlabelled} images have no labelled pixel and are left out.' if unlabelled else ''
    return joined(element('p', note), element('div', chart, class_='charts'))
