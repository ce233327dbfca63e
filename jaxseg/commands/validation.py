"""The scores of the split 'val' during training."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxseg.commands.assemble import Parts, windowed_note
from jaxseg.commands.run_config import RunConfig
from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.errors import InputError


def check_selection(config: RunConfig, parts: Parts, algorithm: Any, state: Any, sources: Mapping):
    """Raises InputError unless validations report what chooses the best checkpoint.

    Args:
      state: the shapes of that of the algorithm.
    """
    if 'val' in sources:
        prefixes = jax.eval_shape(lambda state: _scored(algorithm, state), state)
        config.best.check(prefix + name for prefix in prefixes
                          for name in parts.task.scores().summary())
    elif config.early_stopping is not None:
        raise InputError(f"config.early_stopping: {config.early_stopping} validations without a "
                         f"better one would end training, but the data have no split 'val'; give "
                         f"None, or such a split")


def validate(parts: Parts, algorithm: Any, state: Any, source: Source, spec: DatasetSpec,
             stop: Callable[[], bool]) -> dict[str, float] | None:
    """The scores by name; None when a stop was requested meanwhile.

    Those of other variables that an algorithm compares have its prefix: `raw_miou`.
    """
    found = {}
    for prefix, variables in _scored(algorithm, state).items():
        scores = parts.score(variables, source, spec, should_stop=stop)
        sizes = parts.windowed()
        if sizes:
            print(windowed_note(sizes), file=sys.stderr)
        if scores is None:
            return None
        found |= {prefix + name: value for name, value in scores.summary().items()}
    return found


def _scored(algorithm: Any, state: Any) -> dict[str, Any]:
    """All variables that are scored, by the prefix of their names."""
    compared = algorithm.compared(state) if hasattr(algorithm, 'compared') else {}
    return {'': algorithm.variables(state),
            **{f'{name}_': variables for name, variables in compared.items()}}
