"""How much scores differ between runs, such as the folds of a cross-validation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def spread(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of every number of several runs.

    Args:
      scores: of every run the same names; values are numbers, None for no score, or such mappings.

    Returns:
      Each number replaced by `{'mean': ..., 'deviation': ...}` over the runs that have it; None for
      a mean of no run, or a deviation of fewer than two. The deviation is that of a sample, with
      n - 1 in the denominator.
    """
    found = {}
    for name, first in scores[0].items():
        values = [each[name] for each in scores]
        found[name] = spread(values) if isinstance(first, Mapping) else _spread_of(values)
    return found


def _spread_of(values: Sequence[float | None]) -> dict[str, float | None]:
    known = np.array([value for value in values if value is not None and not math.isnan(value)])
    return {'mean': float(known.mean()) if known.size else None,
            'deviation': float(known.std(ddof=1)) if known.size > 1 else None}
