"""Areas of post-processing, chosen on the validation split and kept in the work directory."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxseg.commands.paths import command
from jaxseg.commands.workdir import Workdir
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError
from jaxseg.inference.postprocess import Postprocess, clean
from jaxseg.processes import gathered, is_first
from jaxseg.records import read_record, write_record

FILE = 'postprocess.json'
SPLIT = 'val'
AREAS = (8, 32, 128, 512, 2048)  # pixels
KINDS = ('smallest', 'holes')


class Trials:
    """The scores of a split with each area of each class alone, as `observe` of `Parts.score`.

    Args:
      empty: metric state without counts.
    """

    def __init__(self, spec: DatasetSpec, empty: Any):
        self._classes, self._empty = spec.classes, empty
        self.plain = empty
        self._states = {(kind, name, area): empty for kind in KINDS for name in spec.classes
                        for area in AREAS}

    def __call__(self, sample: Mapping[str, Any], prediction: np.ndarray):
        """Counts one image and its prediction with every area."""
        label, valid = sample['label'], sample['valid']
        plain = self._empty.count(label, prediction, valid)
        self.plain = self.plain.merge(plain)
        for (kind, name, area), state in self._states.items():
            areas = [(0, 0)] * len(self._classes)
            areas[self._classes.index(name)] = (area, 0) if kind == KINDS[0] else (0, area)
            cleaned = clean(prediction, areas)
            counted = plain if np.array_equal(cleaned, prediction) else (
                self._empty.count(label, cleaned, valid))
            self._states[kind, name, area] = state.merge(counted)

    def merge_processes(self):
        """Counts the images of all processes."""
        every = gathered((self.plain, self._states))
        self.plain = functools.reduce(type(self._empty).merge, [plain for plain, _ in every])
        self._states = {trial: functools.reduce(type(self._empty).merge,
                                                [states[trial] for _, states in every])
                        for trial in self._states}

    def scores(self) -> dict[tuple[str, str, int], float]:
        """The mean IoU by kind, class and area."""
        return {trial: state.summary()['miou'] for trial, state in self._states.items()}

    def best(self) -> dict[str, dict[str, int]]:
        """By kind and class the area with the highest score above that without post-processing."""
        found: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        for kind in KINDS:
            highest = dict.fromkeys(self._classes, self.plain.summary()['miou'])
            for (of, name, area), score in self.scores().items():
                if of == kind and score > highest[name]:
                    highest[name], found[kind][name] = score, area
        return found


def choose(run: Workdir, step: int, variables: Any, source: Source) -> str:
    """Chooses areas by the mean IoU of a source and writes them to postprocess.json.

    Every area of `AREAS` is tried for each class alone, then the best ones together; if these are
    no better than none, none is chosen.

    Returns:
      What was chosen, a line.

    Raises:
      InputError: the masks are post-processed already, or their score has no mean IoU.
    """
    check_plain(run, '--choose_postprocessing')
    trials = Trials(run.spec, run.parts.task.scores())
    if 'miou' not in trials.plain.summary():
        raise InputError('--choose_postprocessing: areas are chosen by the mean IoU, which the '
                         'scores of this task do not have; set them in config.inference')
    run.parts.score(variables, source, run.spec, observe=trials)
    trials.merge_processes()
    before, areas = trials.plain.summary()['miou'], trials.best()
    after = before
    if any(areas.values()):
        together = _with(run, areas).parts.score(variables, source, run.spec)
        after = together.summary()['miou']
    if not after > before:
        areas, after = {kind: {} for kind in KINDS}, before
    path = run.path / FILE
    record = {
        'split': SPLIT, 'checkpoint': step, **areas, 'miou': _or_none(after),
        'miou_before': _or_none(before),
        'tried': [{'kind': kind, 'class': name, 'area': area, 'miou': _or_none(score)}
                  for (kind, name, area), score in trials.scores().items()]}
    if is_first():
        write_record(path, record)
    chosen = '; '.join(f'{kind} {name} {area}' for kind in KINDS
                       for name, area in areas[kind].items())
    return (f'post-processing: {chosen or "none helps"}; mean IoU of {SPLIT!r} {before:.4f} -> '
            f'{after:.4f}: {path}')


def postprocessed(run: Workdir, step: int) -> tuple[Workdir, dict[str, dict[str, int]]]:
    """A run whose masks are post-processed with the areas of its postprocess.json, and these.

    Args:
      step: of the checkpoint for which they must have been chosen.

    Raises:
      InputError: none were chosen, or for another checkpoint; masks are post-processed already;
        several folds.
    """
    check_plain(run, '--postprocess')
    if run.members:
        raise InputError(f'--postprocess: areas are chosen on the split {SPLIT!r}, which each fold '
                         f'of {run.path} has for itself; give one fold, such as '
                         f'--workdir={run.members[0]}, or areas, such as '
                         f'--config.inference.type=postprocess.Postprocess '
                         f'--config.inference.smallest=\'{{"{run.spec.classes[-1]}": 32}}\'')
    path, remedy = run.path / FILE, (
        f'{command("evaluate", workdir=run.path, split=SPLIT)} --checkpoint={step} '
        f'--choose_postprocessing')
    if not path.exists():
        raise InputError(f'--postprocess: {path} does not exist; choose areas first: {remedy}')
    record = read_record(path)
    if record.get('checkpoint') != step:
        raise InputError(f'--postprocess: {path} was chosen for checkpoint '
                         f'{record.get("checkpoint")}, and this is {step}; choose again: {remedy}')
    areas = {kind: record.get(kind) for kind in KINDS}
    return _with(run, areas), areas


def check_plain(run: Workdir, argument: str):
    """Raises InputError if the config post-processes the masks already."""
    if hasattr(run.parts.inference, 'clean'):
        raise InputError(f'{argument}: config.inference is postprocess.Postprocess, which has its '
                         f'own areas; set config.inference to its method')


def _with(run: Workdir, areas: Mapping[str, Mapping[str, int]]) -> Workdir:
    parts = run.parts
    inference = Postprocess(parts.forward, parts.task, run.config.batch_size_of_evaluations,
                            method=parts.inference, **areas)
    return dataclasses.replace(run, parts=dataclasses.replace(parts, inference=inference))


def _or_none(score: float) -> float | None:
    """A score as JSON knows it: None for NaN."""
    return None if math.isnan(score) else score


def check_split(split: str):
    """Raises InputError for another split than the validation split."""
    if split != SPLIT:
        raise InputError(f'--choose_postprocessing: areas are chosen on the split {SPLIT!r} only, '
                         f'so that the scores of others stay honest; got --split={split}')
