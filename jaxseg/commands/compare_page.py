"""The page of `jaxseg compare --html`: scores, differences, and the same images of all runs."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.build import build
from jaxseg.commands import config as configs
from jaxseg.commands.examination import Drawing, class_notes
from jaxseg.commands.paths import expanded, page_path
from jaxseg.commands.report_sections import curves_of_runs
from jaxseg.commands.workdir import Workdir, open_workdir
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.spec import Source
from jaxseg.data.splits import Subset, check_source, sample_names
from jaxseg.errors import InputError
from jaxseg.files import replacing
from jaxseg.metrics.bootstrap import Comparison
from jaxseg.records import read_json
from jaxseg.report.charts import bar_chart, interval_chart, scatter_chart
from jaxseg.report.gallery import DIFFERENCE, ERROR, Picture, gallery
from jaxseg.report.markup import Markup, element, joined
from jaxseg.report.page import page
from jaxseg.report.tables import percent, scrolled, sortable
from jaxseg.training.report import read_metrics

CARDS = 18  # of images and runs
HINTS = {'Truth': 'the labels; void is left uncolored', 'Prediction': 'of the run named below',
         ERROR: 'labelled pixels whose prediction is wrong',
         DIFFERENCE: 'to the first run: blue where only this run is right, orange where only the '
                     'first is'}


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """A run, its name in the page, its images and its checkpoint.

    Attributes:
      places: the index of every image in the source, by name.
    """

    name: str
    run: Workdir
    source: Source
    places: Mapping[str, int]
    step: int
    variables: Any

    def predictions(self, names: Sequence[str]) -> Iterator[tuple[Mapping, np.ndarray]]:
        """(sample, mask) of some images, one at a time."""
        placed = self.run.place(self.variables)
        subset = Subset(self.source, [self.places[name] for name in names])
        for sample in eval_samples(subset, spec=self.run.spec):
            (_, mask), = self.run.parts.inference.predictions(placed, [(None, sample['image'])])
            yield sample, mask


def open_runs(files: Sequence[tuple[str, pathlib.Path]], split: str, trust: Sequence[str],
              names: Sequence[str]) -> list[ComparedRun]:
    """The runs of a page, with the checkpoints that were evaluated.

    Args:
      files: the folder of every run and its table of counts.
      names: of the images that are compared.

    Raises:
      InputError: no folder of a run, no such data any more, or images that the split lacks.
    """
    found, labels = [], _labels([folder for folder, _ in files])
    for label, (folder, file) in zip(labels, files, strict=True):
        if not expanded(folder).is_dir():
            raise InputError(f'RUN {folder}: a file; --html draws predictions, give the folder of '
                             f'the run')
        run = open_workdir(folder, trust=trust)
        source = check_source(build('data', run.config.data), split)
        places = {name: index for index, name in enumerate(sample_names(source))}
        absent = [name for name in names if name not in places]
        if absent:
            raise InputError(f'RUN {folder}: its split {split!r} has no image {absent[0]!r}, which '
                             f'is in {file}; evaluate it again')
        result = file.with_name(f'{file.name.removesuffix("_images.csv")}.json')
        which = str(read_json(result)['checkpoint']) if result.is_file() else 'best'
        found.append(ComparedRun(label, run, source, places, *run.variables(which)))
    return found


def _labels(folders: Sequence[str]) -> list[str]:
    """A short name for every run: the last part of its folder, if all of these differ."""
    last = [pathlib.Path(folder).resolve().name for folder in folders]
    if len(set(last)) == len(last):
        return last
    return [f'{number}: {folder}' for number, folder in enumerate(folders, 1)]


def write_page(text: str, runs: Sequence[ComparedRun], names: Sequence[str], counts: np.ndarray,
               comparison: Comparison) -> pathlib.Path:
    """Writes the page to the file that `--html` names.

    Args:
      names: of the images.
      counts: (images, runs, 3, classes), `tp`, `fp`, `fn`.
    """
    output = page_path(text, '--html')
    spec = runs[0].run.spec
    with np.errstate(invalid='ignore'):
        iou = counts[:, :, 0] / counts.sum(2)
    known = ~np.isnan(iou)
    scores = np.where(known.any(-1), np.nansum(iou, -1) / np.maximum(known.sum(-1), 1), np.nan)
    pictures = draw(runs, names, scores, iou)
    legend = list(zip(spec.classes, spec.colors, strict=True))
    sections = [
        ('summary', '', summary([run.name for run in runs], comparison, len(names))),
        ('classes', 'Differences of the classes', class_differences(runs, comparison)),
        ('curves', 'Training', curves_of_runs({
            run.name: read_metrics(run.run.path / 'metrics.csv') for run in runs},
            [run.run.config.best.metric for run in runs])),
        ('images', 'Differences of the images', joined(
            image_differences(runs, names, scores),
            gallery(pictures, 'Prediction', HINTS, legend, wide=True))),
        ('configs', 'Differences of the configurations', config_differences(runs))]
    content = page(f'{" and ".join(run.name for run in runs)}: {spec.name}', sections, {
        'names': list(spec.classes), 'runs': [run.name for run in runs],
        'miou': comparison.miou.value.tolist(),
        'difference': comparison.miou_difference.value.tolist()})
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as partial:
        partial.write_text(content, encoding='utf-8')
    return output


def summary(runs: Sequence[str], found: Comparison, images: int) -> Markup:
    """The scores of all runs, and what their differences say."""
    rows = []
    for index, run in enumerate(runs):
        difference = ('', '', '') if not index else _difference(
            found.miou_difference, index - 1)
        rows.append((run, float(found.miou.value[index]), _interval(found.miou, index),
                     *difference))
    told = []
    for index, run in enumerate(runs[1:]):
        low, high = (getattr(found.miou_difference, end)[index] for end in ('low', 'high'))
        verdict = (f'is better than {runs[0]}' if low > 0 else f'is worse than {runs[0]}'
                   if high < 0 else f'cannot be told from {runs[0]} by these images')
        told.append(f'{run} {verdict}.')
    table = sortable(('run', 'mean IoU %', '95 % interval', 'difference', '95 % interval', 'p'),
                     rows, label='scores of the runs')
    text = (f'{images:,} images, the same for all runs. Intervals are those of a bootstrap: of '
            f'scores, if other images of the same kind had been drawn; of differences, with the '
            f'same images drawn for both runs.')
    return joined(element('p', element('b', ' '.join(told))), table,
                  element('p', text, class_='muted'))


def class_differences(runs: Sequence[ComparedRun], found: Comparison) -> Markup:
    """A chart and a table of the IoU of every class, for every run but the first."""
    classes, parts = runs[0].run.spec.classes, []
    for index, run in enumerate(runs[1:]):
        ends = [100 * getattr(found.iou_difference, end)[index] for end in ('value', 'low', 'high')]
        chart = interval_chart(f'{run.name} minus {runs[0].name}', [
            (name, *(float(end[k]) for end in ends)) for k, name in enumerate(classes)],
            x_label='difference of IoU in points, 95 % interval')
        rows = [(name, float(found.iou.value[0, k]), float(found.iou.value[index + 1, k]),
                 *_difference(found.iou_difference, (index, k)))
                for k, name in enumerate(classes)]
        table = sortable(('class', f'{runs[0].name} %', f'{run.name} %', 'difference',
                          '95 % interval', 'p'), rows, swatches=runs[0].run.spec.colors,
                         label=f'classes of {run.name}')
        parts += [element('div', chart, class_='charts'), table]
    note = ('Blue is better and orange worse than the first run; grey intervals hold 0, so that '
            'these images do not tell which is better.')
    return joined(element('p', note), parts)


def image_differences(runs: Sequence[ComparedRun], names: Sequence[str], scores: np.ndarray
                      ) -> Markup:
    """Every image as a point, and how many are how much better or worse."""
    charts = []
    for index, run in enumerate(runs[1:], 1):
        known = ~np.isnan(scores[:, [0, index]]).any(1)
        points = [(float(one), float(other), f'{name}: {percent(one)} %, {percent(other)} %')
                  for name, one, other, has in zip(names, scores[:, 0], scores[:, index], known,
                                                   strict=True) if has]
        charts.append(scatter_chart('Mean IoU of every image', points, x_label=runs[0].name,
                                    y_label=run.name))
        change = 100 * (scores[known, index] - scores[known, 0])
        width = max(1.0, float(np.ceil(np.abs(change).max(initial=0))))
        counts, edges = np.histogram(change, bins=15, range=(-width, width))
        bars = [(f'{(low + high) / 2:+.0f}', float(count),
                 f'{count} images: {low:+.1f} to {high:+.1f} points')
                for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)]
        charts.append(bar_chart(
            f'{run.name}: {int((change > 0).sum())} images better, {int((change < 0).sum())} worse',
            bars, x_label='difference of the mean IoU in points', y_label='images'))
    return element('div', charts, class_='charts')


def draw(runs: Sequence[ComparedRun], names: Sequence[str], scores: np.ndarray, iou: np.ndarray
         ) -> dict[str, list[Picture]]:
    """A group an image: those whose difference is the lowest, median and highest, of all runs."""
    change = scores[:, 1:].mean(1) - scores[:, 0]
    order = [int(i) for i in np.argsort(change, kind='stable') if not np.isnan(change[i])]
    count = min(max(3, CARDS // len(runs)), len(order))
    third, middle = (count + 1) // 3, len(order) // 2
    chosen = dict.fromkeys([*order[::-1][:third], *order[:third],
                            *order[middle - third // 2:middle + count]])
    chosen = list(chosen)[:count]
    drawing, groups = Drawing(runs[0].run.spec), {}
    answers = zip(*(run.predictions([names[i] for i in chosen]) for run in runs), strict=True)
    for index, answered in zip(chosen, answers, strict=True):
        sample, base = answered[0]
        shared = {'Truth': drawing.truth(sample)}
        image, cards = drawing.image(sample), []
        for place, (run, (_, mask)) in enumerate(zip(runs, answered, strict=True)):
            layers = {**shared, 'Prediction': drawing.prediction(mask),
                      ERROR: drawing.error(sample, mask)}
            if place:
                layers[DIFFERENCE] = drawing.difference(sample, mask, base)
            cards.append(Picture(run.name, f'{percent(scores[index, place])} %', class_notes(
                iou[index, place], sample, run.run.spec), image, layers, mask.shape[:2]))
        groups[f'{sample["name"]}: {100 * change[index]:+.1f} points'] = cards
    return groups


def config_differences(runs: Sequence[ComparedRun]) -> Markup:
    """The keys in which the configs of the runs differ from that of the first."""
    entries = [run.run.config.to_dict() for run in runs]
    keys = dict.fromkeys(key for other in entries[1:]
                         for key in configs.difference(entries[0], other))
    rows = [element('tr', element('th', 'checkpoint, step', scope='row'),
                    [element('td', run.step, class_='text') for run in runs])]
    rows += [element('tr', element('th', key, scope='row'),
                     [element('td', str(_value(entry, key)), class_='text') for entry in entries])
             for key in keys]
    head = element('tr', element('th', 'key', scope='col'),
                   [element('th', run.name, scope='col', class_='text') for run in runs])
    return scrolled(element('table', element('thead', head), element('tbody', rows),
                            aria_label='differences of the configurations'))


def _value(entry: Any, key: str) -> Any:
    """The value of a dotted key, a dash where it is not there."""
    for name in key.split('.'):
        entry = entry.get(name, '\u2013') if isinstance(entry, Mapping) else '\u2013'
    return entry


def _interval(interval: Any, index: int | tuple[int, ...]) -> str:
    return f'{100 * interval.low[index]:.1f} to {100 * interval.high[index]:.1f}'


def _difference(interval: Any, index: int | tuple[int, ...]) -> tuple[str, str, str]:
    """Difference, its interval and its p-value, as text."""
    value, low, high = (100 * getattr(interval, end)[index] for end in ('value', 'low', 'high'))
    if np.isnan(value):
        return '\u2013', '\u2013', '\u2013'
    return f'{value:+.2f}', f'{low:+.2f} to {high:+.2f}', p_text(interval.p[index])


def p_text(p: float) -> str:
    """A p-value with four decimals; one that could round to zero is '< 0.0001'."""
    return '< 0.0001' if p < 1e-4 else f'{p:.4f}'
