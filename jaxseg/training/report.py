"""Progress line, metrics.csv, curves, and TensorBoard where tensorboardX is installed."""

import contextlib
import csv
import importlib.util
import math
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import jax

from jaxseg.files import naming, replacing
from jaxseg.processes import gathered, is_first
from jaxseg.training.events import open_events

# Metrics that end a run when they are NaN or infinite; the names of all others are free.
FINITE = ('loss', 'gradient_norm')
SHOWN = (('loss', 'loss', '.4f'), ('learning_rate', 'lr', '.2e'),
         ('images_per_second', 'images/s', '.1f'))


class Report:
    """Writes the metrics of a run into its work directory and prints its progress.

    Of several processes the first does; all check that the loss is finite.

    Metrics are read one step late, so that the device never waits for the host; `flush` reads the
    last. Their names are free; `loss` and `learning_rate` are shown where they are given.
    Images/s, `data_wait` and the time left are those of training alone.
    """

    def __init__(self, directory: pathlib.Path, *, first_step: int, steps: int, batch_size: int,
                 metric: str = 'miou'):
        self._metric = metric  # by which the best checkpoint is chosen
        self._directory, self._steps, self._batch_size = directory, steps, batch_size
        self._pending: tuple | None = None
        self._clock, self._clock_step, self._waited = time.perf_counter(), first_step, 0.0
        self._rows = [row for row in read_metrics(directory / 'metrics.csv')
                      if row['step'] <= first_step]
        self._columns: list[str] = []  # none yet: the first row rewrites the whole table
        self._terminal = sys.stdout.isatty()
        self._writes = is_first()
        self._events = open_events(directory / 'events', first_step + 1) if self._writes else None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data: `data_wait` is its share of all time.

        The device may still work on the step before meanwhile, so it idles for less than that.
        """
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time inside, such as that of a validation or a save, does not count as training."""
        start = time.perf_counter()
        yield
        self._clock += time.perf_counter() - start

    def step(self, step: int, metrics: Mapping[str, jax.Array], names: Sequence[str], *,
             write: bool):
        """Takes the metrics of a step, and flushes those of the step before."""
        self.flush()
        self._pending = (step, metrics, names, write)

    def flush(self):
        """Reads what is pending: checks that it is finite, and writes it if it is due.

        Raises:
          FloatingPointError: `loss` or `gradient_norm` is NaN or infinite.
        """
        if self._pending is None:
            return
        step, metrics, names, write = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
        if not all(math.isfinite(values.get(name, 0)) for name in FINITE):
            every = [name for share in gathered(list(names)) for name in share]
            raise FloatingPointError(_not_finite(step, values, every))
        if not (write and self._writes):
            return
        now = time.perf_counter()
        seconds = max(now - self._clock, 1e-9) / max(step - self._clock_step, 1)
        values['images_per_second'] = self._batch_size / seconds
        values['data_wait'] = self._waited / max(now - self._clock, 1e-9)
        self._clock, self._clock_step, self._waited = now, step, 0.0
        self._write(step, values)
        shown = [f'{label} {values[name]:{form}}' for name, label, form in SHOWN if name in values]
        self._print(f'step {step}/{self._steps}  {"  ".join(shown)}  '
                    f'{_clock(seconds * (self._steps - step))} left')

    def evaluation(self, step: int, scores: Mapping[str, float]):
        """Writes the scores of a validation.

        They replace scores of the same step, those of a run that was killed before it saved them.
        """
        if not self._writes:
            return
        rows = [row for row in self._rows if row['step'] != step or not all(
            name == 'step' or name.startswith('val_') for name in row)]
        if len(rows) < len(self._rows):
            self._rows, self._columns = rows, []
        self._write(step, {f'val_{name}': value for name, value in scores.items()})
        self._print(f'step {step}/{self._steps}  validation: ' +
                  '  '.join(f'{name} {value:.4f}' for name, value in scores.items()), stay=True)

    def close(self):
        """Ends the progress line and the events; writes curves.png if matplotlib is installed."""
        if not self._writes:
            return
        if self._terminal:
            print(flush=True)
        if self._events is not None:
            self._events.close()
        if importlib.util.find_spec('matplotlib') is not None and self._rows:
            draw_curves(self._rows, self._directory / 'curves.png', self._metric)

    def _write(self, step: int, values: Mapping[str, float]):
        row = {'step': step, **values}
        self._rows.append(row)
        path = self._directory / 'metrics.csv'
        if not row.keys() <= set(self._columns):
            self._columns = list(dict.fromkeys(key for row in self._rows for key in row))
            _write_rows(path, self._rows, self._columns)
        else:
            with naming(path), path.open('a', newline='') as file:
                csv.DictWriter(file, self._columns, restval='').writerow(row)
        if self._events is not None:
            self._events.add(step, values)

    def _print(self, line: str, stay: bool = False):
        if self._terminal:
            print(f'\r\x1b[K{line}', end='\n' if stay else '', flush=True)
        else:
            print(line, flush=True)


def draw_curves(rows: Sequence[Mapping], path: pathlib.Path, metric: str):
    """Loss and the scores of validations over the steps, `metric` and pixel accuracy, as an image.
    """
    from matplotlib.figure import Figure  # an extra; and Figure alone needs no display

    figure = Figure(figsize=(8, 3.2), layout='constrained')
    scores = dict.fromkeys((f'val_{metric}', 'val_pixel_accuracy'))
    panels = (('training loss', ('loss',)), ('validation', scores))
    for axes, (title, keys) in zip(figure.subplots(1, 2), panels, strict=True):
        for key in keys:
            points = [(row['step'], row[key]) for row in rows if isinstance(row.get(key), float)]
            axes.plot(*zip(*points, strict=True), marker='.', label=key) if points else None
        axes.set(xlabel='step', title=title)
        axes.grid(alpha=0.3)
    if all(0 <= y <= 1 for line in axes.lines for y in line.get_ydata() if math.isfinite(y)):
        axes.set_ylim(0, 1)
    if axes.lines:
        axes.legend(loc='lower right')
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)


def read_metrics(path: pathlib.Path) -> list[dict]:
    """The rows of a metrics.csv, `step` and the values that each has; none without a file.

    A row that cannot be read is dropped, such as one cut by a power failure: a damaged log must not
    stop a run.
    """
    if not path.is_file():  # a pipe would never end
        return []
    try:
        text = path.read_text(errors='replace').replace('\0', '')
    except OSError:
        return []
    lines = text[:text.rfind('\n') + 1].splitlines()  # without a last line that does not end
    return [row for row in map(_parse_row, csv.DictReader(lines)) if row]


def _parse_row(row: Mapping[str, str]) -> dict | None:
    try:
        if None in row or None in row.values():  # more cells than the header has, or fewer
            return None
        values = {key: float(value) for key, value in row.items() if value}
        return {**values, 'step': int(row['step'])}
    except (KeyError, TypeError, ValueError):
        return None


def _write_rows(path: pathlib.Path, rows: Sequence[Mapping], columns: Sequence[str]):
    """Writes the whole table, at once or not at all."""
    with replacing(path) as partial, partial.open('w', newline='') as file:
        writer = csv.DictWriter(file, columns, restval='')
        writer.writeheader()
        writer.writerows(rows)


def _not_finite(step: int, values: Mapping[str, float], names: Sequence[str]) -> str:
    parts = ', '.join(f'{name} {value:.3g}' for name, value in values.items())
    return (f'step {step}: the loss is not finite ({parts}); batch: {", ".join(names)}. '
            f'Lower optimizer.learning_rate, set optimizer.max_grad_norm, or check these files')


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'
