"""Samples that cannot be read while training: the run ends, or leaves a few of them out."""

import sys
from collections.abc import Mapping
from typing import Literal

import numpy as np

from jaxseg.data.spec import DatasetSpec, Source
from jaxseg.data.splits import sample_mask
from jaxseg.errors import InputError

Policy = Literal['raise', 'skip']
SHARE = 0.01  # of the samples of a source that may be left out


class Faults:
    """Called with the index of a sample and what is wrong with it.

    'raise' raises the problem, which names the file. 'skip' logs it, once for each sample, and
    returns, until more than `SHARE` of the samples are bad: then the data are to blame, not a file.
    Every process, and every worker, counts the samples that it met itself.
    """

    def __init__(self, policy: Policy, samples: int):
        self._policy, self._samples = policy, samples
        self._met: dict[int, object] = {}

    def __call__(self, index: int, problem: Exception):
        """Raises `problem`, or InputError where too many samples are bad."""
        if self._policy == 'raise':
            raise problem
        mine = object()
        if self._met.setdefault(index, mine) is not mine:  # atomic, as samples are read in threads
            return
        count = len(self._met)
        if count > SHARE * self._samples:
            raise InputError(f'damaged_samples: {count} of {self._samples} training samples cannot '
                             f'be read, more than {SHARE:.0%}; fix or restore them, the last is: '
                             f'{problem}') from problem
        print(f'skipped ({count} of {self._samples} samples so far): {problem}', file=sys.stderr,
              flush=True)


class ReadableMasks:
    """A source for `sampling` whose masks are void where they cannot be read, of a few at most."""

    def __init__(self, source: Source, spec: DatasetSpec):
        self._source, self._faults = source, Faults('skip', len(source))
        self._void = np.full((1, 1, *(len(spec.classes),) * spec.overlapping), spec.ignore_index)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Mapping:
        return self._source[index]

    def mask(self, index: int) -> np.ndarray:
        """The mask of one sample; one void pixel where it cannot be read.

        Raises:
          InputError: too many masks cannot be read.
        """
        try:
            return sample_mask(self._source, index)
        except (InputError, OSError) as problem:
            self._faults(index, problem)
        return self._void
