"""Samples that cannot be read while training: the run ends, or leaves a few of them out."""

import sys
from typing import Literal

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
