"""Config entries become objects, and what is wrong in them is named before anything runs."""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence

import jax
import pytest

from jaxseg.build import PACKAGES, build, build_function, build_losses
from jaxseg.commands.run_config import RunConfig
from jaxseg.errors import InputError
from jaxseg.fields import Positive, PositiveInt, Probability, Range, check_value, describe
from jaxseg.training.parallel import Parallel


def test_a_nested_entry_becomes_the_part_with_its_parts():
    model = build('model', dict(
        type='segmentation_model.SegmentationModel',
        encoder=dict(type='vgg_like.VGGLike', widths=[4, 8], depth=1),
        context=[dict(type='identity.Identity'), dict(type='renet.ReNet', features=4)],
        decoder=dict(type='unet.UNet', widths=[4])), classes=3)
    assert model.classes == 3
    assert model.encoder.widths == (4, 8)
    assert [type(layer).__name__ for layer in model.context.layers] == ['Identity', 'ReNet']


def test_a_part_may_live_in_the_users_own_code():
    layer = build('context', dict(type='tests.test_build:Open', size=3, anything=4))
    assert (layer.size, layer.options) == (3, {'anything': 4})


class Open:
    """A context whose fields are open-ended."""

    init = apply = None

    def __init__(self, size: int, **options):
        self.size, self.options = size, options

    def __call__(self, x, *, train):
        return x


@pytest.mark.parametrize('key, entry, words', [
    ('encoder', dict(type='resnet.Resnet', depth=18),
     ["encoder 'resnet.Resnet'", "'resnet.ResNet'", 'vgg_like.VGGLike']),
    ('encoder', dict(type='resnt.ResNet', depth=18),
     ['jaxseg/encoders/resnt.py', "'resnet.ResNet'"]),
    ('encoder', dict(type='resnet.ResNet', dpth=18), ['encoder.dpth', "'depth'", 'output_stride']),
    ('encoder', dict(type='vgg_like.VGGLike', depth='two'), ['encoder.depth', "'two'"]),
    ('encoder', dict(type='vgg_like.VGGLike', depth=True), ['encoder.depth', 'True']),
    ('encoder', 'resnet.ResNet', ['encoder: expected an entry']),
    ('encoder', {}, ['encoder: expected an entry']),
    ('encoder', None, ['encoder: expected an entry', 'None']),
    ('encoder', dict(type=3), ['encoder: expected an entry']),
    ('encoder', dict(type='no_such_package.module:Net'), ['no_such_package', 'PYTHONPATH']),
    ('encoder', dict(type='fractions:Fractoin'), ['fractions', "'Fraction'"]),
    ('model', dict(type='segmentation_model.SegmentationModel'),
     ['model: ', 'needs encoder', 'model.encoder']),
    ('images', dict(type='a.B'), ['images', 'encoder']),
])
def test_what_is_wrong_in_an_entry_is_named(key, entry, words):
    given = dict(classes=3) if key == 'model' else {}
    with pytest.raises(InputError) as error:
        build(key, entry, **given)
    for word in words:
        assert word in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('key, name', [
    ('encoder', 'os:system'), ('encoder', 'fractions:Fraction'), ('encoder', 'resnet.BasicBlock'),
    ('encoder', 'resnet.Conv'), ('encoder', 'resnet._shortcut'), ('encoder', 'resnet.Stages'),
    ('decoder', 'unet.Conv'), ('decoder', 'os:system'), ('context', 'ocr.region_features'),
    ('context', 'subprocess:Popen'), ('losses.a', 'weighted.WeightedSum'),
    ('losses.a', 'os:system'), ('optimizer', 'optimizer.is_kernel'),
    ('optimizer', 'optimizer.RateState'), ('schedule', 'schedule._after_warmup'),
    ('schedule', 'report.Report'), ('data', 'decode.read_image'), ('data', 'spec.DatasetSpec'),
    ('transforms', 'transforms.resize_pair'), ('task', 'semantic.Confusion'),
    ('algorithm', 'supervised.TrainState'), ('inference', 'images.check_image'),
    ('head', 'conv.Conv'),
])
def test_a_symbol_that_is_no_such_part_is_refused_before_it_is_called(key, name):
    make = build_function if key.startswith('losses') else build
    with pytest.raises(InputError, match=f"^{key} '{name}': "):
        make(key, dict(type=name))


@pytest.mark.parametrize('fields', [
    dict(encoder=None), dict(encoder={}), dict(encoder='none'), dict(decoder=3), dict(auxiliary=3),
    dict(context=[3]), dict(context={}), dict(head='head.Head')])
def test_a_part_inside_another_must_be_an_entry(fields):
    (name, _), = fields.items()
    entry = {**with_context(dict(type='identity.Identity')), **fields}
    with pytest.raises(InputError, match=rf'^model\.{name}(\.0)?: expected an entry'):
        build('model', entry, classes=3)


@pytest.mark.parametrize('key, entry, field', [
    ('head', dict(type='head.Head', classes=3, dropout=2.0), 'dropout'),
    ('head', dict(type='head.Head', classes=3, dropout=1.0), 'dropout'),
    ('optimizer', dict(type='optimizer.adamw', learning_rate=1e-3, b1=2.0), 'b1'),
    ('optimizer', dict(type='optimizer.adamw', learning_rate=float('inf')), 'learning_rate'),
    ('optimizer', dict(type='optimizer.adamw', learning_rate=float('nan')), 'learning_rate'),
    ('optimizer', dict(type='optimizer.sgd', learning_rate=1e-3, weight_decay=-1.0),
     'weight_decay'),
    ('optimizer', dict(type='optimizer.sgd', learning_rate=1e-3, max_grad_norm=0.0),
     'max_grad_norm'),
    ('schedule', dict(type='schedule.poly', power=-1.0), 'power'),
    ('schedule', dict(type='schedule.cosine', floor=-0.5), 'floor'),
    ('decoder', dict(type='unet.UNet', widths=[8, -8]), 'widths'),
    ('context', dict(type='renet.ReNet', features=-4), 'features'),
    ('inference', dict(type='sliding.SlidingWindow', overlap=1.0), 'overlap'),
    ('inference', dict(type='sliding.SlidingWindow', window=[0, 64]), 'window'),
    ('inference', dict(type='sliding.SlidingWindow', weights='gauss'), 'weights'),
])
def test_a_number_that_cannot_be_is_refused_by_its_key(key, entry, field):
    given = {'schedule': dict(steps=10), 'optimizer': dict(schedule=lambda step: 1.0),
             'inference': dict(forward=None, task=None, batch_size=1)}
    with pytest.raises(InputError, match=rf'^{key}\.{field}: '):
        build(key, entry, **given.get(key, {}))


def test_a_field_that_flows_from_elsewhere_cannot_be_set():
    with pytest.raises(InputError, match='model.classes.*remove the key'):
        build('model', dict(type='segmentation_model.SegmentationModel', classes=4), classes=3)


@dataclasses.dataclass
class Holder:
    """A part that has no number of classes, around one that has."""

    context: object
    init = apply = None

    def __call__(self, x, *, train):
        return x


def with_context(*context: dict, **fields) -> dict:
    return dict(type='segmentation_model.SegmentationModel',
                encoder=dict(type='vgg_like.VGGLike', widths=[4]), context=list(context),
                decoder=dict(type='fcn.FCN'), **fields)


def test_what_is_given_reaches_the_nested_parts_that_have_a_field_for_it():
    ocr = dict(type='ocr.OCR', features=8)
    model = build('model', with_context(dict(type='identity.Identity'), ocr), classes=5)
    assert model.classes == model.context.layers[1].classes == 5
    # Two levels down, through a part that has no such field.
    holder = dict(type='tests.test_build:Holder', context=ocr)
    model = build('model', with_context(holder), classes=5)
    assert model.context.layers[0].context.classes == 5


def test_a_nested_field_that_flows_from_elsewhere_cannot_be_set():
    with pytest.raises(InputError, match=r'^model\.context\.0\.classes: .*remove the key'):
        build('model', with_context(dict(type='ocr.OCR', features=8, classes=5)), classes=5)
    # A part without parents receives the value, too.
    assert build('context', dict(type='ocr.OCR', features=8, classes=5)).classes == 5
    with pytest.raises(InputError, match='ocr.OCR needs classes; add context.classes'):
        build('context', dict(type='ocr.OCR', features=8))


def test_a_part_receives_only_what_it_has_a_field_for():
    assert type(build('context', dict(type='identity.Identity'), classes=5)).__name__ == 'Identity'


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


RUN = dict(steps=3, batch_size=2, data={}, model={}, losses={}, optimizer={}, schedule={},
           evaluate_every=2)


@pytest.mark.parametrize('change, key', [
    (dict(optimiser={}), 'optimiser'), (dict(steps='many'), 'steps'), (dict(steps=0), 'steps'),
    (dict(steps=10 ** 21), 'steps'), (dict(seed=-1), 'seed'), (dict(seed=2 ** 31), 'seed'),
    (dict(workers=-1), 'workers'), (dict(parallel='pmap'), 'parallel'),
    (dict(parallel={'strategy': 'tensor'}), 'parallel.strategy'),
    (dict(save_every=0), 'save_every'), (dict(eval_batch_size='x'), 'eval_batch_size'),
    (dict(data=3), 'data'), (dict(transforms={'type': 'x'}), 'transforms'),
    (dict(task=None), 'task')])
def test_a_run_names_the_key_that_is_wrong(change, key):
    with pytest.raises(InputError, match=f'^config.{key}: '):
        RunConfig.from_mapping({**RUN, **change})


@pytest.mark.parametrize('given, size', [
    ({'batch_size': 8}, 8), ({'batch_size': 6}, 8), ({'batch_size': 6, 'eval_batch_size': 3}, 4)])
def test_the_batch_size_of_evaluations_is_rounded_up_so_that_it_fits_the_devices(given, size):
    assert jax.device_count() == 4
    assert RunConfig.from_mapping({**RUN, **given}).batch_size_of_evaluations == size


def test_a_run_config_has_defaults_and_says_what_is_missing():
    config = RunConfig.from_mapping(RUN)
    assert (config.seed, config.task) == (0, {'type': 'semantic.Semantic'})
    assert config.parallel == Parallel(strategy='jit', data=-1, fsdp=1, space=1)
    assert RunConfig.from_mapping(config.to_dict()) == config
    with pytest.raises(InputError, match='^config: .*steps'):
        RunConfig.from_mapping({key: value for key, value in RUN.items() if key != 'steps'})


@pytest.mark.parametrize('hint, good, bad, shown', [
    (int, [3], [3.0, True, '3', None], 'int'),
    (float, [3, 0.5], [True, 'x', None, float('nan'), float('inf')], 'float'),
    (Probability, [0, 0.5, 1], [-0.1, 1.1, 'x'], 'float (at least 0 and at most 1)'),
    (Positive | None, [0.1, None], [0, -1], 'float (above 0) | None'),
    (typing.Annotated[int, Range(2, 5)], [2, 5], [1, 6, 2.0], 'int (at least 2 and at most 5)'),
    (tuple[PositiveInt, ...], [(1, 2)], [(1, 0)],
     'tuple[int (at least 1 and at most 2147483647), ...]'),
    (typing.Literal['a', 'b'] | None, ['a', None], ['c', 1], 'one of a, b | None'),
    (bool, [True], [1], 'bool'),
    (int | None, [3, None], ['x', 8.5], 'int | None'),
    (typing.Optional[str], ['a', None], [3], 'str | None'),  # noqa: UP045  users write it
    (tuple[int, ...], [(), (8, 8), [8]], [(8.5, 8), 'ab', 8, {8: 8}], 'tuple[int, ...]'),
    (tuple[int, int] | None, [(8, 9), None], [(8,), (8, 9, 10), (8, 'x')],
     'tuple[int, int] | None'),
    (Sequence[str], [['cell'], ()], ['cell', [1]], 'Sequence[str]'),
    (Sequence[Sequence[int]], [[[1, 2], [3]]], [['red'], [1]], 'Sequence[Sequence[int]]'),
    (Sequence, [[1, 'x']], ['x', {}], 'Sequence'),
    (Mapping, [{1: 'x'}], ['x', []], 'Mapping'),
    (Mapping[str, float], [{'train': 0.5, 'val': 1}], [{'train': 'x'}, {1: 0.5}, [0.5]],
     'Mapping[str, float]'),
    (dict[int, int] | None, [{'-1': 3, 2: 3}, None], [{'a': 3}, {'1': 'x'}, {'²': 3}],
     'dict[int, int] | None'),
])
def test_types_and_ranges_that_annotations_ask_for(hint, good, bad, shown):
    for value in good:
        check_value('part.field', value, hint)
    for value in bad:
        with pytest.raises(InputError, match='^part.field: ') as error:
            check_value('part.field', value, hint)
        assert repr(value) in str(error.value) and shown in str(error.value)
    assert describe(hint) == shown


@pytest.mark.parametrize('hint', [Callable, typing.Any, 'OnlyForTypeCheckers', Holder | None, type])
def test_other_annotations_are_left_to_the_part(hint):
    for value in (3, 'x', [3], {'a': 3}, None):
        check_value('part.field', value, hint)


def test_only_what_can_be_such_a_part_is_proposed():
    words = {'data': ('folder.Folder', 'decode.read_image'),
             'schedule': ('schedule.poly', 'report.Report'),
             'optimizer': ('optimizer.sgd', 'optimizer.is_kernel'),
             'losses': ('dice.dice', 'weighted.WeightedSum'),
             'transforms': ('transforms.RandomCrop', 'transforms.resize_pair'),
             'context': ('renet.ReNet', 'ocr.region_features'),
             'encoder': ('vgg_like.VGGLike', 'resnet.BasicBlock'),
             'task': ('semantic.Semantic', 'pixelwise.Pixelwise'),
             'algorithm': ('supervised.Supervised', 'supervised.TrainState'),
             'head': ('head.Head', 'conv.Conv'),
             'inference': ('sliding.SlidingWindow', 'predictor.Predictor'),
             'model': ('segmentation_model.SegmentationModel', 'Chain'),
             'decoder': ('unet.UNet', '-'),
             'preprocess': ('device_transforms.Normalize', 'transforms.RandomCrop'),
             'augmentations': ('device_geometry.Affine', 'device_transforms.Normalize')}
    for key in PACKAGES:
        with pytest.raises(InputError, match='known: [a-z]') as error:
            build(key, dict(type='no.Thing'))
        part, other = words.get(key, ('', '-'))
        assert part in str(error.value) and other not in str(error.value)
