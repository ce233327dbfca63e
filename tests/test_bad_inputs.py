"""Bad input of every kind is refused in one line; `experiments/reliability` has all rows."""

import dataclasses
import importlib
import inspect
import re
import sys
import types
import typing

import pytest

from experiments.reliability import bad_inputs, bad_numbers
from experiments.reliability.cases import TINY, Case, write_config
from jaxseg.build import PACKAGES, build
from jaxseg.commands.run_config import RunConfig
from jaxseg.errors import InputError
from jaxseg.training.parallel import Parallel


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return bad_inputs.train_tiny(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch):
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)


def test_a_few_rows_of_every_kind_are_refused(trained, tmp_path):
    rows = bad_inputs.short_cases(2)
    assert len(rows) > 40
    failed = {(case.kind, case.name): found for index, case in enumerate(rows)
              if (found := bad_inputs.check(case, tmp_path / str(index), trained))}
    assert not failed


def test_a_row_runs_in_a_process_of_its_own(trained, tmp_path):
    case = next(case for case in bad_inputs.all_cases() if 'optimiser' in case.name)
    assert not bad_inputs.start(case, tmp_path / 'case', trained)


@pytest.mark.parametrize('arguments, change, found', [
    (('train', '--config=tiny.py', '--workdir=new'), None, 'Refused'),  # a good run
    (('train', '--config=tiny.py', '--workdir=new'), {'steps': 'x'}, "'optimizer' is not named"),
    (('train', '--config=none.py', '--workdir=new'), None, "'optimizer' is not named"),
])
def test_the_check_itself_fails_where_it_should(trained, tmp_path, arguments, change, found):
    def prepare(folder):
        if change:
            write_config(folder / 'tiny.py', {**TINY, **change})

    case = Case('', '', arguments, ('optimizer',), prepare)
    assert found in ' '.join(bad_inputs.check(case, tmp_path / 'case', trained))


@pytest.mark.parametrize('status, output', [
    (0, 'jaxseg train: steps\n'), (2, ''), (2, 'jaxseg train: steps\nmore\n'),
    (2, 'train: steps\n'), (2, 'jaxseg train: seed\n'), (2, 'jaxseg train: steps Traceback\n'),
    (2, 'UserWarning: steps\njaxseg train: steps\n')])
def test_a_refusal_of_another_form_is_a_failure(status, output):
    case = Case('', '', ('train',), ('steps',))
    assert bad_inputs.problems(case, status, output)
    assert not bad_inputs.problems(case, 2, 'jaxseg train: steps\n')


def test_written_changed_and_deleted_files_are_found(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).write_text('x')
    before = bad_inputs.contents(tmp_path)
    assert not bad_inputs.changes(before, bad_inputs.contents(tmp_path))
    (tmp_path / 'a').unlink()
    (tmp_path / 'b').write_text('y')
    (tmp_path / 'c').mkdir()
    changed = bad_inputs.changes(before, bad_inputs.contents(tmp_path))
    assert {re.search(r'(\w): changed', line)[1] for line in changed} == {'a', 'b', 'c'}


def numeric(hint):
    """Whether a field holds numbers, in whatever container."""
    if hint in (int, float):
        return True
    nested = isinstance(hint, types.UnionType) or typing.get_origin(hint) not in (
        None, typing.Literal) or typing.get_args(hint)
    return bool(nested) and any(numeric(part) for part in typing.get_args(hint))


def parts():
    """(key, name, symbol) of all parts of the library."""
    for key in PACKAGES:
        with pytest.raises(InputError) as error:
            build(key, {'type': 'no.Thing'})
        for name in str(error.value).rpartition('known: ')[2].split(', '):
            file, _, symbol = name.partition('.')
            yield key, name, getattr(importlib.import_module(f'jaxseg.{PACKAGES[key]}.{file}'),
                                     symbol)


def test_the_table_has_every_numeric_field_of_every_part():
    table = {(key.removesuffix('.0').removesuffix('.a').rpartition('.')[2], part): set(fields)
             for key, part, _, fields in bad_numbers.PARTS}
    table['model', 'segmentation_model.SegmentationModel'] = set(bad_numbers.MODEL)
    given = {'classes', 'mean', 'std', 'batch_size', 'devices', 'steps', 'value_range'}
    for key, name, symbol in parts():
        target = symbol.__init__ if inspect.isclass(symbol) else symbol
        hints = typing.get_type_hints(symbol if hasattr(symbol, '__dataclass_fields__') else target)
        numbers = {field for field, hint in hints.items() if numeric(hint)
                   and field in inspect.signature(symbol).parameters}
        missing = numbers - table.get((key, name), set()) - given
        assert not missing, f'{key} {name}: add {missing} to experiments/reliability/bad_numbers.py'
    numbers = {field for field, hint in typing.get_type_hints(RunConfig).items() if numeric(hint)}
    assert numbers <= set(bad_numbers.RUN)
    assert {field.name for field in dataclasses.fields(Parallel)} == set(bad_numbers.PARALLEL)
