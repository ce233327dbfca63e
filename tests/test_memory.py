"""The memory that a program needs, and that there is."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg import memory
from jaxseg.commands import training
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg_like import VGGLike
from jaxseg.errors import InputError
from jaxseg.inference.sliding import SlidingWindow
from jaxseg.inference.whole import SHARE, Whole
from tests.test_inference_sizes import TASK, images, network

KIB = {'/proc/meminfo': 'MemTotal: 900 kB\nMemAvailable: 800 kB\n'}
GROUP = {'/sys/fs/cgroup/memory.max': '600000\n', '/sys/fs/cgroup/memory.current': '100000\n'}
OLD_GROUP = {'/sys/fs/cgroup/memory/memory.limit_in_bytes': '300000\n',
             '/sys/fs/cgroup/memory/memory.usage_in_bytes': '100000\n'}


@pytest.mark.parametrize('files, expected', [
    (KIB, 800 * 1024), (KIB | GROUP, 500_000), (GROUP, 500_000), (KIB | GROUP | OLD_GROUP, 200_000),
    (GROUP | {'/sys/fs/cgroup/memory.stat': 'anon 1\ninactive_file 20000\n'}, 520_000),
    (KIB | {'/sys/fs/cgroup/memory.max': 'max\n'}, 800 * 1024), ({}, float('inf')),
    ({**GROUP, '/sys/fs/cgroup/memory.current': '700000'}, 0)])
def test_the_lowest_limit_counts(monkeypatch, files, expected):
    monkeypatch.setattr(memory, '_read', lambda path: files.get(path, ''))
    assert memory.available_bytes() == expected


def test_a_program_needs_its_results_and_what_it_keeps_meanwhile():
    def compiled(function, *shape):
        return jax.jit(function).lower(jnp.zeros(shape)).compile()

    devices = jax.local_device_count()  # on CPU all of them take from one memory
    assert memory.needed_bytes(compiled(lambda x: x + 1, 100, 100)) == devices * 40_000
    # Two products, of which the first is needed for both factors of the second.
    needed = memory.needed_bytes(compiled(lambda x: (x @ x) @ (x @ x).T, 100, 100))
    assert devices * 80_000 <= needed < devices * 200_000


def lowered_convolution(features, **options):
    """A convolution 3x3 with ReLU and pooling of an image of 200x300, lowered."""
    images = jnp.zeros((1, 200, 300, 4))
    layer = nn.Conv(features, (3, 3), **options)
    variables = layer.init(jax.random.key(0), images)
    return jax.jit(lambda images: nn.max_pool(
        nn.relu(layer.apply(variables, images)), (2, 2), (2, 2)).mean(-1)).lower(images)


def test_the_map_after_a_convolution_is_counted():
    needed = memory.needed_bytes(memory.compile_stated(lowered_convolution(32)))
    assert needed >= 200 * 300 * 4 * 32 * jax.local_device_count()


@pytest.mark.parametrize('options, positions', [
    ({}, 200 * 300), ({'strides': 2}, 100 * 150), ({'feature_group_count': 4}, 200 * 300)])
def test_the_patches_of_a_convolution_are_reserved(options, positions):
    compiled = memory.compile_stated(lowered_convolution(32, **options))
    assert memory.reserved_bytes(compiled) == positions * 9 * 4 * 4


def test_address_space_is_all_of_the_memory_at_most(monkeypatch):
    files = {'/proc/meminfo': 'MemTotal: 900 kB\nMemAvailable: 8 kB\nSwapTotal: 100 kB\n'}
    monkeypatch.setattr(memory, '_read', lambda path: files.get(path, ''))
    assert memory.address_space() == 1000 * 1024


def test_an_image_whose_convolutions_reserve_too_much_goes_through_windows(monkeypatch):
    forward, variables = network('convolutional')
    pairs = list(enumerate(images((24, 32))))
    inference = Whole(forward, TASK, 1)
    monkeypatch.setattr('jaxseg.inference.whole.address_space', lambda: 1000)
    list(inference.predictions(variables, pairs))
    assert inference.windowed == [(24, 32)]


def test_a_backend_that_does_not_know_is_no_obstacle():
    class Unknown:
        def memory_analysis(self):
            return None

    assert memory.needed_bytes(Unknown()) == 0


def test_what_needs_more_than_there_is_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(memory, 'available_bytes', lambda: 3 * 2 ** 29)
    memory.check_memory('batch_size: a batch', 3 * 2 ** 29, 'lower it')
    with pytest.raises(InputError, match='^batch_size: a batch .* 2.5 GiB .* 1.5 GiB .*lower it$'):
        memory.check_memory('batch_size: a batch', 5 * 2 ** 29, 'lower it')
    shapes = {'a': jax.ShapeDtypeStruct((2 ** 31 - 1, 2 ** 31 - 1), jnp.bfloat16), 'b': jnp.ones(3)}
    assert memory.tree_bytes(shapes) == 2 * (2 ** 31 - 1) ** 2 + 12


class Device:
    """An accelerator, which tells its memory."""

    def memory_stats(self):
        return {'bytes_limit': 2 ** 34, 'bytes_in_use': 2 ** 30}


class Step:
    """The compilation of a step that allocates what is given."""

    def __init__(self, needed):
        self.temp_size_in_bytes = needed // memory._devices_of_memory()
        self.output_size_in_bytes = self.alias_size_in_bytes = 0

    def memory_analysis(self):
        return self


@pytest.mark.parametrize('gib, fixed, multiple, remedy', [
    # 15 GiB are free. Of 32 GiB for 16 images 4 do not depend on them: 11 of 28 suffice for 6.28.
    (32, 4, 1, 'lower batch_size to 6'), (32, 4, 4, 'lower batch_size to 4'),
    (32, 0, 1, 'lower batch_size to 7'), (32, 4, 8, 'let transforms return smaller images'),
    (20, 20, 1, 'let transforms return smaller images')])
def test_a_step_too_large_for_the_device_is_refused_with_a_batch_that_fits(
        monkeypatch, gib, fixed, multiple, remedy):
    devices = memory._devices_of_memory()
    state = {'a': jax.ShapeDtypeStruct((fixed, 2 ** 28 // devices), jnp.float32)}
    monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
    memory.check_step_memory(Step(15 * 2 ** 30), state, 16, multiple)
    for other, end in (('', ''), ('smile', ', or smile')):
        with pytest.raises(InputError, match=f'^batch_size: a training step of 16 images needs '
                                             f'{gib} GiB of memory, and 15 GiB are available; '
                                             f'{remedy}{end}$'):
            memory.check_step_memory(Step(gib * 2 ** 30), state, 16, multiple, other)


@pytest.mark.parametrize('model, expected', [
    (types.SimpleNamespace(encoder=ResNet(18)), 'set model.encoder.remat=True'),
    (types.SimpleNamespace(encoder=ResNet(18, remat=True)), ''),
    (types.SimpleNamespace(encoder=VGGLike()), ''), (nn.Dense(3), '')])
def test_rematerialization_is_named_where_the_encoder_has_it_and_does_not_use_it(model, expected):
    assert training._memory_remedy(model) == expected


def test_what_a_device_has_of_a_split_state_counts():
    mesh = jax.make_mesh((4,), ('fsdp',), axis_types=(AxisType.Auto,))
    shape = jax.ShapeDtypeStruct((2, 8), jnp.float32, sharding=NamedSharding(mesh, P(None, 'fsdp')))
    assert memory._bytes_on_a_device(shape) == 16


def memory_for(monkeypatch, count):
    """Pretends that there is memory for batches of `count` images of 24x32."""
    forward, variables = network('convolutional')
    stacked = jnp.zeros((count, 24, 32, 3), jnp.uint8)
    needed = memory.needed_bytes(memory.compile_stated(jax.jit(
        lambda variables, pixels: TASK.predictions(forward(variables, pixels))
    ).lower(variables, stacked)))
    assert needed > count * 24 * 32  # at least the masks
    monkeypatch.setattr('jaxseg.inference.whole.available_bytes', lambda: needed / SHARE)


def test_a_batch_that_needs_too_much_memory_runs_image_by_image(monkeypatch):
    forward, variables = network('convolutional')
    pairs = list(enumerate(images((24, 32), (24, 32), (24, 32), (16, 32))))
    expected = dict(Whole(forward, TASK, 3).predictions(variables, pairs))
    memory_for(monkeypatch, 1)
    shapes = []
    inference = Whole(forward, TASK, 3, lambda batch: shapes.append(len(batch)) or batch)
    found = dict(inference.predictions(variables, pairs))
    assert shapes == [3, 1, 1, 1, 1] and inference.windowed == []
    assert all((found[key] == mask).all() for key, mask in expected.items())


def test_an_image_that_needs_too_much_memory_goes_through_windows(monkeypatch):
    forward, variables = network('convolutional')
    pairs = list(enumerate(images((24, 32), (48, 64), (24, 32))))
    inference = Whole(forward, TASK, 2)
    memory_for(monkeypatch, 2)
    found = dict(inference.predictions(variables, pairs))
    assert inference.windowed == [(48, 64)]
    windows = SlidingWindow(forward, TASK, 1)
    for key, image in pairs:
        alone = windows if key == 1 else Whole(forward, TASK, 1)
        (_, mask), = alone.predictions(variables, [(key, image)])
        np.testing.assert_array_equal(found[key], mask)
    monkeypatch.setattr('jaxseg.inference.whole.available_bytes', lambda: 0)
    np.testing.assert_array_equal(inference.probabilities(variables, pairs[1][1]),
                                  windows.probabilities(variables, pairs[1][1]))
