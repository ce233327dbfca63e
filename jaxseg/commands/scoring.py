"""What evaluations share: the data that are scored, and metrics beside those of the task."""

import functools
import math
from typing import Any

import numpy as np

from jaxseg.build import build
from jaxseg.commands.resume import check_same_meaning
from jaxseg.commands.workdir import Workdir
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.data.splits import check_source
from jaxseg.errors import InputError
from jaxseg.fields import nearest
from jaxseg.metrics.boundary import Boundary
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.images import ImageCounts
from jaxseg.metrics.objects import Objects
from jaxseg.metrics.thresholds import Thresholds
from jaxseg.processes import gathered
from jaxseg.training.restore import list_checkpoints

# Keys of the config that change an evaluation.
EVALUATION_KEYS = ('data', 'inference', 'eval_batch_size', 'model', 'task', 'preprocess')
METRICS = {'boundary': Boundary, 'calibration': Calibration, 'objects': Objects,
           'thresholds': Thresholds}
FROM_PROBABILITIES = METRICS.keys() - {'boundary'}


def scored_data(run: Workdir, split: str) -> tuple[Any, Source]:
    """The data set of a run, and the split of it that is scored.

    Raises:
      InputError: its classes are no longer those of the run, or the split cannot be used.
    """
    dataset = build('data', run.config.data)
    check_same_meaning(run.path, run.spec, dataset.spec, ('classes', 'ignore_index', 'overlapping'))
    return dataset, check_source(dataset, split)


def checkpoint_selection(run: Workdir, which: str, step: int | tuple[int, ...]) -> str:
    """How the checkpoint that is scored was chosen, in words.

    Args:
      which: what was asked for: best, latest, or a number.
      step: what was found; of an ensemble that of each member.
    """
    if which != 'best':
        return 'the latest' if which == 'latest' else 'by its number'
    best, found = run.config.best, []
    steps = step if run.members else (step,)
    for folder, number in zip(run.members or (run.path,), steps, strict=True):
        checkpoint = list_checkpoints(folder / 'checkpoints')[0].get(number)
        score = checkpoint.score if checkpoint else -math.inf
        found.append(score if best.mode == 'max' else -score)
    if not all(map(math.isfinite, found)):
        return 'the latest, as no validation scored it'
    values = ', '.join(f'{value:.4f}' for value in found)
    return f'{"highest" if best.mode == "max" else "lowest"} val_{best.metric}: {values}'


def metric_names(text: str, spec: DatasetSpec) -> tuple[str, ...]:
    """The metrics of `--metrics=boundary,calibration`, those of `all`, or none.

    `thresholds` is no metric of three and more classes that do not overlap: of each pixel the most
    probable class is predicted, whatever its probability.

    Raises:
      InputError: a name is unknown, or no metric of this data set.
    """
    no_thresholds = not spec.overlapping and len(spec.classes) > 2
    if text == 'all':
        return tuple(name for name in METRICS if not (no_thresholds and name == 'thresholds'))
    names = tuple(dict.fromkeys(text.split(','))) if text else ()
    for name in names:
        if name not in METRICS:
            raise InputError(f'--metrics={text}: {name!r} is no metric; '
                             f'{nearest(name, ["all", *METRICS])}')
    if no_thresholds and 'thresholds' in names:
        raise InputError(f'--metrics={text}: thresholds are for two classes or overlapping ones, '
                         f'a pixel of this data set has one of {len(spec.classes)}; leave it out')
    return names


class ObservedMetrics:
    """Counts every image that it is called with, as `observe` of `Parts.score`.

    `states` has a metric state for each of `names`.
    """

    def __init__(self, classes: tuple[str, ...], names: tuple[str, ...] = ()):
        self._none, self._images, self._indices = ImageCounts.empty(classes), [], []
        self.states: dict[str, Any] = {name: METRICS[name].empty(classes) for name in names}

    @property
    def images(self) -> ImageCounts:
        """The counts of every image."""
        return self._none.merge(*self._images)

    @property
    def probabilities(self) -> bool:
        """Whether the samples must have `probabilities`: the option of `Parts.score`."""
        return bool(FROM_PROBABILITIES & self.states.keys())

    def __call__(self, sample: dict, prediction: np.ndarray):
        """Counts one image and its prediction."""
        label, valid = sample['label'], sample['valid']
        self._images.append(self._none.count(label, prediction, valid, sample['name']))
        self._indices.append(sample['index'])
        probabilities = sample.get('probabilities')
        counted = {'boundary': (label, prediction, valid),
                   'calibration': (label, probabilities, valid),
                   'objects': (label, prediction, valid, probabilities),
                   'thresholds': (label, probabilities, valid)}
        self.states = {name: state.count(*counted[name]) for name, state in self.states.items()}

    def merge_processes(self):
        """Counts the images of all processes, and puts images into the order of the source."""
        every = gathered((self.images, self._indices, self.states))
        images, indices, states = zip(*every, strict=True)
        self._indices = sum(indices, [])
        self._images = [self._none.merge(*images).ordered(self._indices)]
        self._indices.sort()
        self.states = {name: functools.reduce(type(state).merge, [part[name] for part in states])
                       for name, state in self.states.items()}

    def json(self) -> dict[str, dict]:
        """A section for every metric, and `per_image`, the scores of single images."""
        return {'per_image': self.images.json(),
                **{name: state.json() for name, state in self.states.items()}}

    def tables(self) -> list[str]:
        """The tables of all metrics, each under its name."""
        return [f'{name}\n{state.table()}' for name, state in self.states.items()]
