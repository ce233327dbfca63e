"""Which cases of a test run by default, and which as trials (`make trials`)."""

from collections.abc import Collection, Iterable

import pytest


def as_trials(*cases) -> list:
    """Cases, each one value or a tuple of several, that run as trials."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.trials)
            for case in cases]


def default_cases(cases: Iterable, default: Collection) -> list:
    """All cases; those outside of `default` run as trials."""
    cases = list(cases)
    unknown = [case for case in default if case not in cases]
    assert not unknown, f'no cases: {unknown}'
    return [case for case in cases if case in default] + as_trials(
        *(case for case in cases if case not in default))
