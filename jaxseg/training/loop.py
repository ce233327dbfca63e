"""The loop: next batch, step, then in a fixed order report, evaluate, save."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxseg.training.layout import JitLayout
from jaxseg.training.report import Report


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Steps between two reports, evaluations (None: no evaluation) and checkpoints."""

    report: int
    evaluate: int | None
    save: int


def train(state: Any, batches: Iterator[dict], *, layout: JitLayout, step: Callable,
          first: int, steps: int, intervals: Intervals, report: Report,
          evaluate: Callable[[Any], dict[str, float] | None],
          save: Callable[[int, Any, dict[str, float] | None], None],
          stop_requested: Callable[[], bool], stalled: Callable[[], bool], validated: int = 0
          ) -> tuple[Any, int]:
    """Trains from step `first` to `steps`.

    Args:
      state: of the algorithm, placed by the layout.
      step: compiled by the layout, `(state, batch, index) -> (state, metrics)`.
      evaluate: state -> scores; None when it was stopped.
      save: `(steps done, state, scores or None)`.
      stop_requested: called after every step; True ends the loop once the state is saved.
      stalled: called after every evaluation, once it is saved; True ends the loop.
      validated: number of steps at the last evaluation. One that was due after step `first`, and
        that a stop has left out, is the first thing to be done.

    Returns:
      The last state, placed as the first, and the number of steps done.

    Raises:
      FloatingPointError: a loss is not finite; nothing of that step is saved.
      Exception: of reading a batch or of an evaluation. A single process saves the steps done.
    """
    placed, done = layout.replicate(state), first
    del state  # one copy less: the state is the largest array but for the temporaries of a step

    def checkpoint(evaluating: bool = False) -> bool:
        """Saves, after an evaluation if one is due; whether that ends the loop."""
        report.flush()
        state, scores = layout.unreplicate(placed), None
        with report.paused():
            if evaluating:
                with _before_an_exception(checkpoint):
                    scores = evaluate(state)
            if scores is not None:
                report.evaluation(done, scores)
            save(done, state, scores)
        return evaluating and (scores is None or stalled())

    left_out = first not in (0, validated) and _due(intervals.evaluate, first, first == steps)
    stop = left_out and checkpoint(evaluating=True)
    while done < steps and not stop:
        with _before_an_exception(checkpoint), report.waiting():
            batch = dict(next(batches))
        names = batch.pop('name')
        placed, metrics = step(placed, layout.put_batch(batch), np.int32(done))
        done += 1
        # Called once a step: a later request is served after the next step, never lost.
        last, stop = done == steps, stop_requested()
        report.step(done, metrics, names, write=_due(intervals.report, done, last))
        evaluating = _due(intervals.evaluate, done, last) and not stop
        if evaluating or _due(intervals.save, done, last or stop):
            stop = checkpoint(evaluating) or stop
    return layout.unreplicate(placed), done


@contextlib.contextmanager
def _before_an_exception(save: Callable[[], Any]) -> Iterator[None]:
    """Saves before one leaves, such as that of a file that was damaged meanwhile."""
    try:
        yield
    except Exception:
        if jax.process_count() == 1:  # others do not know, and save by themselves no more
            save()
        raise


def _due(interval: int | None, step: int, last: bool) -> bool:
    """Whether something is due after this step: at multiples of its interval and at the end."""
    return interval is not None and (last or step % interval == 0)
