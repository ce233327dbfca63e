"""Metrics beside those of the task, computed image by image during an evaluation."""

from typing import Any

import numpy as np

from jaxseg.errors import InputError
from jaxseg.fields import nearest
from jaxseg.metrics.calibration import Calibration
from jaxseg.metrics.images import ImageCounts

METRICS = {'calibration': Calibration}
FROM_PROBABILITIES = {'calibration'}


def metric_names(text: str) -> tuple[str, ...]:
    """The metrics of `--metrics=boundary,calibration`, those of `all`, or none.

    Raises:
      InputError: a name is unknown.
    """
    if text == 'all':
        return tuple(METRICS)
    names = tuple(dict.fromkeys(text.split(','))) if text else ()
    for name in names:
        if name not in METRICS:
            raise InputError(f'--metrics={text}: {name!r} is no metric; '
                             f'{nearest(name, ["all", *METRICS])}')
    return names


class ObservedMetrics:
    """Counts every image that it is called with, as `observe` of `Parts.score`.

    `images` are the counts of every image; `states` has a metric state for each of `names`.
    """

    def __init__(self, classes: tuple[str, ...], names: tuple[str, ...] = ()):
        self.images = ImageCounts.empty(classes)
        self.states: dict[str, Any] = {name: METRICS[name].empty(classes) for name in names}

    @property
    def probabilities(self) -> bool:
        """Whether the samples must have `probabilities`: the option of `Parts.score`."""
        return bool(FROM_PROBABILITIES & self.states.keys())

    def __call__(self, sample: dict, prediction: np.ndarray):
        """Counts one image and its prediction."""
        label, valid = sample['label'], sample['valid']
        self.images = self.images.count(label, prediction, valid, sample['name'])
        if 'calibration' in self.states:
            self._count('calibration', label, sample['probabilities'], valid)

    def _count(self, name: str, *arrays: np.ndarray):
        self.states[name] = self.states[name].count(*arrays)

    def json(self) -> dict[str, dict]:
        """A section for every metric."""
        return {name: state.json() for name, state in self.states.items()}

    def tables(self) -> list[str]:
        """The tables of all metrics, each under its name."""
        return [f'{name}\n{state.table()}' for name, state in self.states.items()]
