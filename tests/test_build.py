"""Config entries become objects, and what is wrong in them is named before anything runs."""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence

import pytest

from jaxseg.build import ROOMS, build, build_function, build_losses, check_call
from jaxseg.errors import InputError


def test_a_nested_entry_becomes_the_part_with_its_parts():
    model = build('model', dict(
        type='segmenter.Segmenter',
        encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1),
        context=[dict(type='identity.Identity'), dict(type='renet.ReNet', features=4)],
        decoder=dict(type='unet.UNet', widths=[4])), classes=3)
    assert model.classes == 3
    assert model.encoder.widths == (4, 8)
    assert [type(layer).__name__ for layer in model.context] == ['Identity', 'ReNet']


def test_a_part_may_live_in_the_users_own_code():
    assert build('encoder', dict(type='fractions:Fraction', numerator=3, denominator=4)) * 4 == 3


@pytest.mark.parametrize('key, entry, words', [
    ('encoder', dict(type='resnet.Resnet', depth=18), ['encoder', "'resnet.Resnet'", "did you mean 'resnet.ResNet'",
                                                       'vgg_like.VGGLike']),
    ('encoder', dict(type='resnt.ResNet', depth=18), ['jaxseg/encoders/resnt.py', "did you mean 'resnet.ResNet'"]),
    ('encoder', dict(type='resnet.ResNet', dpth=18), ['encoder.dpth', "did you mean 'depth'", 'output_stride']),
    ('encoder', dict(type='vgg_like.VGGLike', depth='two'), ['encoder.depth', 'expected int', "'two'"]),
    ('encoder', dict(type='vgg_like.VGGLike', depth=True), ['encoder.depth', 'expected int', 'True']),
    ('encoder', 'resnet.ResNet', ['encoder', 'expected an entry with a type']),
    ('encoder', dict(type='no_such_package.module:Net'), ['no_such_package', 'PYTHONPATH']),
    ('encoder', dict(type='fractions:Fractoin'), ['fractions', "did you mean 'Fraction'"]),
    ('model', dict(type='segmenter.Segmenter'), ['segmenter.Segmenter needs', 'model.encoder']),
    ('pictures', dict(type='a.B'), ['pictures', 'encoder']),
])
def test_what_is_wrong_in_an_entry_is_named(key, entry, words):
    given = dict(classes=3) if key == 'model' else {}
    with pytest.raises(InputError) as error:
        build(key, entry, **given)
    for word in words:
        assert word in str(error.value)
    assert '\n' not in str(error.value)


def test_a_field_that_flows_from_elsewhere_cannot_be_set():
    with pytest.raises(InputError, match='model.classes.*remove the key'):
        build('model', dict(type='segmenter.Segmenter', classes=4), classes=3)


@dataclasses.dataclass
class Holder:
    """A part that has no number of classes, around one that has."""

    context: object


def with_context(*context: dict, **fields) -> dict:
    return dict(type='segmenter.Segmenter', encoder=dict(type='vgg_like.VGGLike', widths=[4]), context=list(context),
                decoder=dict(type='fcn.FCN'), **fields)


def test_what_is_given_reaches_the_nested_parts_that_have_a_field_for_it():
    model = build('model', with_context(dict(type='identity.Identity'), dict(type='ocr.OCR', features=8)), classes=5)
    assert model.classes == model.context[1].classes == 5
    # Two levels down, through a part that has no such field.
    model = build('model', with_context(dict(type='tests.test_build:Holder', context=dict(type='ocr.OCR', features=8))), classes=5)
    assert model.context[0].context.classes == 5


def test_a_nested_field_that_flows_from_elsewhere_cannot_be_set():
    with pytest.raises(InputError, match='model.context.classes: ocr.OCR gets this from elsewhere in the run; remove the key'):
        build('model', with_context(dict(type='ocr.OCR', features=8, classes=5)), classes=5)
    # A part that stands alone is told.
    assert build('context', dict(type='ocr.OCR', features=8, classes=5)).classes == 5
    with pytest.raises(InputError, match='ocr.OCR needs classes; add context.classes'):
        build('context', dict(type='ocr.OCR', features=8))


def test_a_given_field_that_the_part_itself_lacks_is_the_authors_error():
    with pytest.raises(TypeError, match='classes'):
        build('context', dict(type='identity.Identity'), classes=5)


def test_losses_are_functions_with_their_options_bound():
    loss = build_function('losses.focal', dict(type='focal.focal', gamma=1.5))
    assert loss.keywords == {'gamma': 1.5}
    with pytest.raises(InputError, match="losses.focal.gama.*did you mean 'gamma'"):
        build_function('losses.focal', dict(type='focal.focal', gama=1.5))
    with pytest.raises(InputError, match='no field .logits'):
        build_function('losses.focal', dict(type='focal.focal', logits=1))


@pytest.mark.parametrize('entries, words', [
    ([], 'expected named losses'),
    (dict(type='dice.dice'), 'expected named losses'),
    (dict(dice=dict(type='dice.dice', weight='much')), 'losses.dice.weight'),
    (dict(dice=3), 'losses.dice: expected an entry'),
])
def test_losses_must_be_named(entries, words):
    with pytest.raises(InputError, match=words):
        build_losses(entries)


def test_a_misspelt_key_of_the_run_is_named_with_the_nearest():
    def run(*, optimizer: dict, steps: int, workdir: str):
        pass

    with pytest.raises(InputError, match="config.optimiser.*did you mean 'optimizer'"):
        check_call(run, dict(optimiser={}, steps=3, workdir='a'), 'config')
    with pytest.raises(InputError, match='config.steps: expected int'):
        check_call(run, dict(optimizer={}, steps='many', workdir='a'), 'config')
    with pytest.raises(InputError, match='run needs steps'):
        check_call(run, dict(optimizer={}, workdir='a'), 'config')


@pytest.mark.parametrize('hint, good, bad, shown', [
    (int, [3], [3.0, True, '3', None], 'int'),
    (float, [3, 0.5], [True, 'x', None], 'float'),
    (bool, [True], [1], 'bool'),
    (int | None, [3, None], ['x', 8.5], 'int | None'),
    (typing.Optional[str], ['a', None], [3], 'Optional[str]'),  # noqa: UP045  users write it
    (tuple[int, ...], [(), (8, 8), [8]], [(8.5, 8), 'ab', 8, {8: 8}], 'tuple[int, ...]'),
    (tuple[int, int] | None, [(8, 9), None], [(8,), (8, 9, 10), (8, 'x')], 'tuple[int, int] | None'),
    (Sequence[str], [['cell'], ()], ['cell', [1]], 'Sequence[str]'),
    (Sequence[Sequence[int]], [[[1, 2], [3]]], [['red'], [1]], 'Sequence[Sequence[int]]'),
    (Sequence, [[1, 'x']], ['x', {}], 'Sequence'),
    (Mapping, [{1: 'x'}], ['x', []], 'Mapping'),
    (Mapping[str, float], [{'train': 0.5, 'val': 1}], [{'train': 'x'}, {1: 0.5}, [0.5]], 'Mapping[str, float]'),
    (dict[int, int] | None, [{'-1': 3, 2: 3}, None], [{'a': 3}, {'1': 'x'}], 'dict[int, int] | None'),
    ('Sequence[int] | None', [[1], None], ['x'], 'Sequence[int] | None'),
])
def test_types_that_annotations_ask_for(hint, good, bad, shown):
    def part(*, field):
        pass

    part.__annotations__['field'] = hint
    for value in good:
        check_call(part, {'field': value}, 'part')
    for value in bad:
        with pytest.raises(InputError) as error:
            check_call(part, {'field': value}, 'part')
        assert str(error.value) == f'part.field: expected {shown}, got {value!r}'


@pytest.mark.parametrize('hint', [Callable, typing.Any, 'OnlyForTypeCheckers', Holder | None, typing.Literal['a'], type])
def test_other_annotations_are_the_affair_of_the_part(hint):
    def part(*, field):
        pass

    part.__annotations__['field'] = hint
    for value in (3, 'x', [3], {'a': 3}, None):
        check_call(part, {'field': value}, 'part')


def test_only_what_can_be_such_a_part_is_proposed():
    words = {'data': ('folder.Folder', 'decode.read_image'), 'schedule': ('schedule.poly', 'report.Report'),
             'optimizer': ('optimizer.sgd', 'optimizer.decayed'), 'losses': ('dice.dice', 'weighted.WeightedSum'),
             'transforms': ('transforms.Resize', 'transforms.resize_pair'), 'encoder': ('vgg_like.VGGLike', 'resnet.BasicBlock'),
             'context': ('renet.ReNet', 'ocr.region_features')}
    for key in ROOMS:
        with pytest.raises(InputError, match='known: [a-z]') as error:
            build(key, dict(type='no.Thing'))
        part, other = words.get(key, ('', '-'))
        assert part in str(error.value) and other not in str(error.value)
