"""The loop: next batch, step, then in a fixed order report, evaluate, save."""

import dataclasses
import signal
from collections.abc import Callable, Iterator
from typing import Any

from jaxseg.training.parallel import Spread
from jaxseg.training.report import Report
from jaxseg.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Every:
    """How many steps lie between two reports, two evaluations and two checkpoints."""

    report: int
    evaluate: int
    save: int


def train(state: TrainState, batches: Iterator[dict], *, spread: Spread, steps: int, every: Every, report: Report,
          evaluate: Callable[[TrainState], dict[str, float]], save: Callable[[TrainState, float | None], None]
          ) -> tuple[TrainState, bool]:
    """Trains from `state.step` to `steps`.

    Every evaluation is saved with its mIoU. Ctrl-C or SIGTERM ends the loop after the running step and saves too.

    Returns:
      The last state, on one device, and whether all steps were done.

    Raises:
      FloatingPointError: a loss is not finite; nothing of that step is saved.
    """
    first, placed = int(state.step), spread.put_state(state)
    with _Stop() as stop:
        for done in range(first + 1, steps + 1):
            batch = dict(next(batches))
            names = batch.pop('name')
            placed, metrics = spread.step(placed, spread.put_batch(batch))
            last = done == steps or stop.asked
            report.step(done, metrics, names, write=last or done % every.report == 0)
            if not last and done % every.evaluate and done % every.save:
                continue
            report.settle()
            state, miou = spread.one(placed), None
            if done % every.evaluate == 0 or (last and not stop.asked):
                scores = evaluate(state)
                report.evaluation(done, scores)
                miou = scores['miou']
            save(state, miou)
            if stop.asked:
                return state, done == steps
    return spread.one(placed), True


class _Stop:
    """While open, the first Ctrl-C or SIGTERM only sets `asked`; a second Ctrl-C interrupts as usual."""

    def __init__(self):
        self.asked = False

    def __enter__(self) -> '_Stop':
        self._before: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:
            pass  # Not the main thread (a notebook's worker, say): signals are somebody else's.
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_):
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print('\nstopping after this step; Ctrl-C again stops at once and loses it', flush=True)
