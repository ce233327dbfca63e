"""Layouts: the same steps on any number of devices, and what every device holds."""

import json
import os
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.commands import main, training
from jaxseg.errors import InputError
from jaxseg.layers.partition import SPACE_AXIS, constrain, space_axis
from jaxseg.training.checkpoint import Checkpoints, restore_state
from jaxseg.training.layout import AXES, JitLayout, init_key, make_layout
from jaxseg.training.parallel import Parallel
from tests import runs
from tests.eight_devices import CASES, device_share


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    """Of eight devices, which need a process of their own."""
    path = tmp_path_factory.mktemp('eight') / 'figures.json'
    subprocess.run([sys.executable, '-m', 'tests.eight_devices', path], check=True,
                   cwd=pathlib.Path(__file__).parents[1],
                   # Compiled without optimisation: in half the time, and partitioned all the same.
                   env={**os.environ, 'JAX_NUM_CPU_DEVICES': '8',
                        'XLA_FLAGS': '--xla_backend_optimization_level=0'})
    return json.loads(path.read_text())


@pytest.mark.parametrize('model, layout', [
    (model, layout) for model, layouts in CASES.items() for layout in layouts])
def test_eight_devices_take_the_steps_of_one(figures, model, layout):
    found = figures[model][layout]
    assert found['gradient'] < 1e-5
    assert found['losses'] < 1e-5
    assert found['statistics'] < 1e-5


def test_a_device_holds_its_share_of_the_state(figures):
    """Here of the arrays that are large; a quarter of this small state is whole."""
    shares = {layout: found['share of a device'] for layout, found in figures['U-Net'].items()}
    assert shares['data=8'] == shares['pmap=8'] == shares['data=2, space=4'] == 1
    whole = (8 * shares['fsdp=8'] - 1) / 7
    assert 0.2 < whole < 0.3 and shares['data=2, fsdp=4'] == pytest.approx((1 + 3 * whole) / 4)


@pytest.mark.parametrize('keys, devices, sizes', [
    ({}, 8, (8, 1, 1)), ({'fsdp': 8}, 8, (1, 8, 1)), ({'fsdp': 2, 'space': 2}, 8, (2, 2, 2)),
    ({'data': 2, 'fsdp': -1}, 8, (2, 4, 1)), ({'data': 1, 'space': -1}, 4, (1, 1, 4)),
    ({'data': 2, 'fsdp': 2}, 4, (2, 2, 1)), ({'strategy': 'pmap'}, 3, (3, 1, 1))])
def test_one_of_the_axes_may_take_the_devices_that_the_others_leave(keys, devices, sizes):
    assert Parallel(**keys).sizes(devices) == sizes


@pytest.mark.parametrize('keys, message', [
    ({'fsdp': 3}, 'fsdp 3 x space 1 = 3 does not divide the 8 devices; give 1 or 2 or 4 or 8'),
    ({'data': 2, 'fsdp': 2}, 'data 2 x fsdp 2 x space 1 = 4, and there are 8 devices'),
    ({'data': -1, 'space': -1}, 'data and space are -1'), ({'fsdp': 0}, 'fsdp: 0 is out of range'),
    ({'strategy': 'pmap', 'fsdp': 2}, "'pmap' splits the batch alone, and fsdp is 2, space 1"),
    ({'tensor': 2}, 'tensor: no such key; known: data, fsdp, space, strategy'),
    ('jit', "expected keys, such as {'fsdp': 8}, got 'jit'")])
def test_devices_that_do_not_form_a_grid_are_refused(keys, message):
    with pytest.raises(InputError, match=r'^config\.parallel') as error:
        Parallel.from_mapping(keys).sizes(8)
    assert message in str(error.value)


def test_batches_and_heights_that_do_not_divide_are_refused_with_some_that_do():
    layout = JitLayout(Parallel(fsdp=2, space=2))
    layout.check_batch_size(6)
    layout.check_height(6)
    with pytest.raises(InputError, match='^batch_size: 7 .* 2 devices .*; give 8$'):
        layout.check_batch_size(7)
    with pytest.raises(InputError, match=r'parallel\.space: .* height 7 .* 2 devices.* of 8, '):
        layout.check_height(7)


@pytest.mark.parametrize('shape, spec', [
    ((3, 3, 32, 64), P(None, None, None, 'fsdp')), ((3, 3, 64, 64), P(None, None, None, 'fsdp')),
    ((128, 64), P('fsdp')), ((8192,), P('fsdp')), ((90, 64), P(None, 'fsdp')),
    ((4094,), P()), ((3, 3, 4, 4), P()), ((65, 67), P()), ((), P())])
def test_the_largest_dimension_that_divides_is_split_of_arrays_that_are_large(shape, spec):
    layout = JitLayout(Parallel(fsdp=4))
    placed, = layout.place([jax.ShapeDtypeStruct(shape, jnp.float32)])
    assert placed.sharding.spec == spec


def test_images_labels_and_masks_are_split_by_batch_and_height():
    layout = JitLayout(Parallel(data=1, fsdp=2, space=2))
    batch = layout.put_batch({'image': np.zeros((2, 4, 3, 3)), 'label': np.zeros((2, 4, 3)),
                              'weight': np.zeros((2,))})
    shards = {name: x.addressable_shards[0].data.shape for name, x in batch.items()}
    assert shards == {'image': (1, 2, 3, 3), 'label': (1, 2, 3), 'weight': (1,)}
    # In evaluation a device has whole images.
    assert layout.put_images(np.zeros((4, 3, 5))).addressable_shards[0].data.shape == (1, 3, 5)


def test_a_layer_sees_the_devices_along_the_height_in_a_step_and_nowhere_else():
    seen = []

    def step(state, batch, key):
        seen.append(space_axis().shape[SPACE_AXIS])
        x = constrain(batch['image'].astype(jnp.float32)[:, :3])  # a height that does not divide
        rows = jax.shard_map(lambda x: x + (0 if space_axis() is None else jnp.nan),
                             in_specs=P(('data', 'fsdp')), out_specs=P(('data', 'fsdp')))(x)
        return state, {'sum': rows.sum()}

    layout = JitLayout(Parallel(space=2))
    batch = {'image': np.arange(2 * 4 * 3 * 1, dtype=np.uint8).reshape(2, 4, 3, 1)}
    run = layout.compile_step(step, 0, {}, batch)
    assert seen == [2]
    assert run({}, layout.put_batch(batch), np.int32(0))[1]['sum'] == batch['image'][:, :3].sum()
    assert space_axis() is None and constrain(7) == 7
    for keys in ({}, {'strategy': 'pmap'}):
        layout = make_layout(Parallel(**keys))
        with jax.set_mesh(layout.mesh):
            assert space_axis() is None


@pytest.mark.parametrize('strategy', ['jit', 'pmap'])
def test_a_step_takes_the_memory_of_the_state_before(strategy):
    layout, state = make_layout(Parallel(strategy=strategy)), {'count': np.zeros(3, np.float32)}
    batch = {'image': np.ones((4, 3), np.float32)}
    run = layout.compile_step(lambda state, batch, key: ({'count': state['count'] + 1}, {}), 0,
                              state, batch)
    first, _ = run(layout.replicate(state), layout.put_batch(batch), np.int32(0))
    run(first, layout.put_batch(batch), np.int32(1))
    assert first['count'].is_deleted()


def test_the_variables_of_a_split_state_are_evaluated_as_they_are():
    layout = JitLayout(Parallel(fsdp=4))
    split = jax.device_put(np.ones((64, 64)), layout.place(np.ones((64, 64))).sharding)
    found = layout.put_variables({'split': split, 'read': np.ones((64, 64)), 'one': jnp.ones(3)})
    assert found['split'] is split
    assert found['read'].sharding.is_fully_replicated and len(found['one'].sharding.device_set) == 4


def test_the_variables_of_a_split_state_are_gathered_by_one_program_for_the_devices_of_a_process(
        monkeypatch):
    layout = JitLayout(Parallel(fsdp=4))
    layout._own = jax.make_mesh((4, 1, 1), AXES, axis_types=(AxisType.Auto,) * 3)
    monkeypatch.setattr(jax, 'jit', None)  # which would compile anew for every validation
    for value in (1.0, 2.0):
        state = {'split': np.full((64, 64), value), 'small': np.full((3,), value),
                 'large': np.full((128, 64), value)}
        placed = jax.tree.map(lambda x, to: jax.device_put(x, to.sharding), state,
                              layout.place(state))
        found = layout.put_variables(placed | {'read': state['small']})
        assert {x.sharding for x in found.values()} == {NamedSharding(layout._own, P())}
        for name, x in placed.items():
            np.testing.assert_array_equal(found[name], x)
    assert layout._gather._cache_size() == 1


def test_a_device_needs_memory_for_its_share_of_the_state_and_of_the_batch(monkeypatch):
    monkeypatch.setattr('jaxseg.memory._devices_of_memory', lambda: 1)  # as an accelerator
    monkeypatch.setattr('jaxseg.memory.available_bytes', lambda: 2 ** 20)
    state = {'a': jax.ShapeDtypeStruct((512, 512), jnp.float32)}
    training._check_state(state, JitLayout(Parallel(), jax.devices()[:1]))
    state = {'a': jax.ShapeDtypeStruct((1024, 1024), jnp.float32)}
    training._check_state(state, JitLayout(Parallel(fsdp=4)))
    with pytest.raises(InputError, match='^model: .*, or .* of the 4 devices with parallel.fsdp=4'):
        training._check_state(state, JitLayout(Parallel(fsdp=2)))
    with pytest.raises(InputError, match='; make the model smaller$'):
        training._check_state(state, JitLayout(Parallel(), jax.devices()[:1]))

    def read(batch_size):
        yield {'name': ['a'] * batch_size, 'image': np.zeros((batch_size, 256, 256, 4), np.uint8)}

    config = types.SimpleNamespace(batch_size=16)
    assert len(training._first_batch(config, read, JitLayout(Parallel(space=2)))['image']) == 16
    with pytest.raises(InputError, match='^batch_size: a batch needs 0.00195 GiB'):
        training._first_batch(config, read, JitLayout(Parallel(), jax.devices()[:2]))


def test_a_state_is_initialised_in_its_shardings_with_the_values_of_one_device():
    def init(key, given):
        return {'random': jax.random.normal(key, (64, 96)), 'given': given['values'] + 1}

    given = {'values': np.arange(8192.0, dtype=np.float32)}
    layout = JitLayout(Parallel(fsdp=4))
    shapes = jax.eval_shape(lambda: init(init_key(3), given))
    state = layout.compile_init(init, 3, shapes)(given)
    assert device_share(state) == 0.25
    np.testing.assert_array_equal(state['random'], jax.random.normal(init_key(3), (64, 96)))
    np.testing.assert_array_equal(state['given'], given['values'] + 1)


def test_a_state_saved_by_four_devices_is_restored_by_any_number_in_their_shardings(tmp_path):
    rng = np.random.default_rng(0)
    params = {'kernel': rng.normal(size=(3, 3, 32, 32)), 'bias': rng.normal(size=(32,))}
    state = jax.tree.map(np.float32, {'params': params, 'moments': optax.adam(1e-3).init(params)})
    state['moments'] = jax.tree.map(lambda x: x + 0.5, state['moments'])

    def variables(state):
        return {'params': state['params']}

    four = JitLayout(Parallel(fsdp=4))
    placed = jax.tree.map(lambda x, to: jax.device_put(x, to.sharding), state, four.place(state))
    assert device_share(placed) < 0.27
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, placed, variables, 0.5)
    checkpoints.close()
    shapes = jax.eval_shape(lambda: state)
    for count in (4, 2, 1):
        layout = JitLayout(Parallel(fsdp=count), jax.devices()[:count])
        step, restored = restore_state(tmp_path, layout.place(shapes), variables)
        assert step == 3
        for x, expected, like in zip(*map(jax.tree.leaves, (restored, state, layout.place(state))),
                                     strict=True):
            assert x.sharding == like.sharding and x.dtype == expected.dtype
            np.testing.assert_array_equal(x, expected)


def test_a_run_of_split_parameters_and_images_is_evaluated_and_continues_otherwise(tmp_path):
    config, workdir = runs.write_config(tmp_path), tmp_path / 'work'
    arguments = ['train', f'--config={config}', f'--workdir={workdir}', *runs.STEPS[1:],
                 '--config.schedule.warmup=0',
                 '--config.model.encoder.widths=[8,64]']  # large enough to be split
    assert main([*arguments, '--config.steps=2', '--config.parallel.fsdp=2',
                 '--config.parallel.space=2']) == 0
    assert main([*arguments, '--config.steps=4']) == 0
    found = sorted(path.name for path in (workdir / 'checkpoints').iterdir())
    assert found == ['2', '4']
