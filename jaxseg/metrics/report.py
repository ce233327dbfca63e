"""Shared by the metrics: scores of classes and their means, as JSON values and as a table."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg.errors import printable


def mean_of_known(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def json_values(classes: Sequence[str], per_class: Mapping[str, np.ndarray],
                summary: Mapping[str, float]) -> dict:
    """The summary, then `classes: {name: {score: value}}`; None for NaN."""
    def value_or_none(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return {**{name: value_or_none(value) for name, value in summary.items()},
            'classes': {
                name: {score: value_or_none(values[i]) for score, values in per_class.items()}
                for i, name in enumerate(classes)}}


def text_table(classes: Sequence[str], per_class: Mapping[str, np.ndarray],
               summary: Mapping[str, float]) -> str:
    """One line per class with its scores in per cent, then the summary."""
    classes = [printable(name) for name in classes]
    width = max(map(len, ('class', *classes)))
    lines = [' '.join([f'{"class":{width}}', *(f'{score:>9}' for score in per_class)])]
    for i, name in enumerate(classes):
        lines.append(' '.join([f'{name:{width}}',
                               *(f'{100 * values[i]:9.1f}' for values in per_class.values())]))
    lines += ['', *(f'{name.replace("_", " ")}: {value:.4f}' for name, value in summary.items())]
    return '\n'.join(lines)
