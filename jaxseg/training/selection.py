"""Which checkpoint is the best, and when training has stopped to improve."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from jaxseg.errors import InputError
from jaxseg.fields import check_fields, from_keys, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best:
    """The score of a validation by which the best checkpoint is chosen.

    Args:
      metric: a column of metrics.csv without its `val_`.
      mode: whether the largest value is best, or the smallest.
    """

    metric: str = 'miou'
    mode: Literal['max', 'min'] = 'max'

    def __post_init__(self):
        check_fields(self, 'config.best')

    @classmethod
    def from_mapping(cls, values: Any) -> 'Best':
        """From the keys of a config.

        Raises:
          InputError: no mapping, an unknown key or a wrong value.
        """
        return from_keys(cls, 'config.best', values, {'metric': 'miou'})

    def check(self, metrics: Iterable[str]):
        """Raises InputError unless a validation reports the metric."""
        known = list(metrics)
        if self.metric not in known:
            raise InputError(f'config.best.metric: no validation of this run reports '
                             f'{self.metric!r}; {nearest(self.metric, known)}')

    def score(self, scores: Mapping[str, float]) -> float:
        """The larger, the better."""
        value = float(scores[self.metric])
        return value if self.mode == 'max' else -value


class Progress(NamedTuple):
    """The best score so far, how many validations came after it, and the step of the last one."""

    best: float = -math.inf
    stale: int = 0
    validated: int = 0

    def after(self, score: float, step: int) -> 'Progress':
        """The progress with another validation; only more than the best is better, and no NaN."""
        if score > self.best:
            return Progress(score, validated=step)
        return self._replace(stale=self.stale + 1, validated=step)

    def stalled(self, early_stopping: int | None) -> bool:
        """Whether so many validations were not better, which ends a training; None never does."""
        return early_stopping is not None and self.stale >= early_stopping


NO_PROGRESS = Progress()  # of a new run
