"""The faults of `experiments/mutation_check.py` can be made, and the tests that they name exist."""

import pathlib

import pytest

from experiments import mutations, mutations_of_training

ROOT = pathlib.Path(__file__).parents[1]
ALL = [*mutations.MUTATIONS, *mutations_of_training.MUTATIONS]


@pytest.mark.parametrize('mutation', ALL, ids=lambda mutation: mutation.name)
def test_a_fault_can_be_made_and_names_tests_that_exist(mutation):
    source = (ROOT / mutation.file).read_text()
    changed = source.replace(mutation.old, mutation.new)
    assert changed != source and compile(changed, mutation.file, 'exec')
    assert mutation.tests
    for test in mutation.tests:
        file, whole, name = test.partition('::')
        name = name.partition('[')[0]
        assert (f'def {name}(' if whole else 'def test_') in (ROOT / file).read_text()
