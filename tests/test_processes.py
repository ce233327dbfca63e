"""Several processes: how they are found, stop together, and share data."""

import argparse
import pathlib
import subprocess
import threading
import time
import types

import jax
import numpy as np
import pytest
import yaml

from experiments.cluster import local
from experiments.reliability.cases import TINY
from jaxseg.commands import processes
from jaxseg.commands.resume import check_same_processes
from jaxseg.commands.run_config import RunConfig
from jaxseg.commands.scoring import ObservedMetrics
from jaxseg.commands.stop import SharedStop
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.synthetic import Shapes
from jaxseg.errors import InputError
from jaxseg.training.layout import JitLayout
from tests import runs

CLUSTER = pathlib.Path(local.__file__).parent
class Store:
    """What the service of `jax.distributed` does with keys and values."""

    def __init__(self):
        self._values, self._changed = {}, threading.Condition()

    def key_value_set(self, key, value):
        with self._changed:
            if key in self._values:
                raise RuntimeError('ALREADY_EXISTS')
            self._values[key] = value
            self._changed.notify_all()

    def blocking_key_value_get(self, key, timeout_in_ms):
        with self._changed:
            assert self._changed.wait_for(lambda: key in self._values, 20), key
        if key.endswith('/told/2'):  # one hears of it later than the others
            time.sleep(0.05)
        return self._values[key]


@pytest.fixture
def stops(monkeypatch):
    """Makes the stops of some processes, which share a prefix."""
    monkeypatch.setattr('jaxseg.commands.stop._numbers', iter([0] * 9))
    store = Store()
    return lambda count: [SharedStop(store, index, count) for index in range(count)]


@pytest.mark.parametrize('asked, after', [(0, 3), (2, 5)])
def test_all_processes_stop_after_the_same_step(stops, asked, after):
    shared, last, limit = stops(3), {}, 60
    # A step ends when all have begun it, as a sum over all devices does.
    step = threading.Barrier(3, timeout=20)

    def train(index):
        done, stop = 0, False
        while done < limit and not stop:
            if (index, done) == (asked, after):
                assert shared[index].request() and not shared[index].request()
            step.wait()
            done += 1
            stop = shared[index].after_step()
        last[index] = done

    run_together(train, 3)
    assert len(set(last.values())) == 1 and after < last[0] < limit
    assert all(stop() for stop in shared)
    run_together(lambda index: shared[index].close(), 3)


def test_a_process_that_is_done_keeps_no_other_waiting(stops):
    first, second = stops(2)
    assert not first.after_step() and not second.after_step()
    first.close()
    second.request()
    second.after_step()  # whatever it is told, it must come back
    second.close()
    assert not first() and not first._thread.is_alive() and not second._thread.is_alive()


def run_together(function, count):
    threads = [threading.Thread(target=function, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


SLURM = {'SLURM_STEP_NUM_TASKS': '8', 'SLURM_PROCID': '3'}
GIVEN = {'coordinator': 'node0:8476', 'processes': 4, 'process': 2}


@pytest.mark.parametrize('environment, given, place', [
    ({}, {}, (None, 1, 0)),
    ({'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0'}, {}, (None, 1, 0)),
    ({'SLURM_NTASKS': '8', 'SLURM_PROCID': '0'}, {}, (None, 1, 0)),  # the script, not a step
    (SLURM, {}, (None, 8, 3)),
    (SLURM, {'coordinator': '[::1]:5000'}, ('[::1]:5000', 8, 3)),
    (SLURM, GIVEN, ('node0:8476', 4, 2)),
    ({'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '1'}, {}, (None, 2, 1)),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, {}, (None, 1, 0)),
    ({'TPU_WORKER_HOSTNAMES': 'a,b,c', 'TPU_WORKER_ID': '1', 'MEGASCALE_NUM_SLICES': '2',
      'MEGASCALE_SLICE_ID': '1'}, {}, (None, 6, 4)),
    ({}, GIVEN, ('node0:8476', 4, 2))])
def test_processes_are_found(environment, given, place):
    found = processes._place(arguments(**given), environment)
    assert tuple(found[name] for name in ('coordinator_address', 'num_processes', 'process_id')
                 ) == place
    assert ('cluster_detection_method' in found) == (
        not environment or place[1] == 1 and 'SLURM_STEP_NUM_TASKS' not in environment)


@pytest.mark.parametrize('given, words', [
    ({'coordinator': 'node0:8476'}, '--coordinator needs --processes and --process'),
    ({'processes': 2, 'process': 0}, '--processes needs --coordinator'),
    ({**GIVEN, 'processes': 0}, '--processes=0'), ({**GIVEN, 'process': 4}, '--process=4'),
    ({**GIVEN, 'process': -1}, '--process=-1'), ({**GIVEN, 'coordinator': 'node0'}, 'HOST:PORT'),
    ({**GIVEN, 'coordinator': ':8476'}, 'HOST:PORT'),
    ({**GIVEN, 'coordinator': 'node0:70000'}, 'HOST:PORT'),
    ({'coordinator_timeout': 0}, '--coordinator_timeout=0')])
def test_options_of_processes_that_do_not_fit_are_named(given, words):
    with pytest.raises(InputError, match=words):
        processes._place(arguments(**given), {})


def arguments(**given):
    names = dict.fromkeys(processes.OPTIONS)
    return argparse.Namespace(**{**names, 'coordinator_timeout': 300, **given})


def test_what_runs_in_one_process_refuses_several(monkeypatch, capfd):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    runs.refused(['models'], ['Slurm started 8 processes', 'jaxseg models runs in one'], capfd)


@pytest.mark.parametrize('size', [1, 5, 7])
def test_every_sample_is_scored_by_one_process(size):
    source = Shapes(size=(32, 32), samples={'val': size}).source('val')
    spec = Shapes(size=(32, 32), samples={'val': size}).spec
    shares = [[sample['index'] for sample in eval_samples(
        source, spec=spec, process_index=index, process_count=3)] for index in range(3)]
    assert sum(shares, []) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize('change, splits, words', [
    ({'seed': 1}, {}, 'config.seed: 0 in process 0 and 1 in process 1'),
    ({}, {'train': (5, 'other')}, "split 'train' has 4 samples in process 0 and 5, or others"),
    ({'data.type': 'folder.Folder'}, {}, 'config.data.type'),
    ({'data.root': '/elsewhere'}, {}, None)])
def test_processes_with_another_config_or_other_data_are_named(change, splits, words, monkeypatch):
    config, other = ({**TINY, 'data': {'type': 'coco.Coco', 'root': '/here'}} for _ in range(2))
    other = {**other, 'data': dict(other['data'])}
    for key, value in change.items():
        group, _, name = key.rpartition('.')
        (other[group] if group else other)[name] = value
    config, other = map(RunConfig.from_mapping, (config, other))
    monkeypatch.setattr('jaxseg.commands.resume.gathered', lambda value: [
        value, (other.to_dict(), {**value[1], **splits})])
    samples = {'train': {'count': 4, 'sha256': 'x', 'names': []}}
    if words is None:
        check_same_processes(config, samples)
        return
    with pytest.raises(InputError, match=words):
        check_same_processes(config, samples)


def test_counts_of_images_are_in_the_order_of_the_source():
    observed, mask = ObservedMetrics(('a', 'b')), np.zeros((2, 2), np.uint8)
    for index, label in ((2, 0), (0, 1), (1, 1)):
        sample = {'label': mask + label, 'valid': mask == 0, 'index': index, 'name': f'{index}.png'}
        observed(sample, mask)
    observed.merge_processes()
    assert observed.images.names == ('0.png', '1.png', '2.png')
    assert observed.images.tp[:, 0].tolist() == [0, 0, 4]


@pytest.mark.parametrize('space, devices, expected', [
    (1, [0, 0, 1, 1], [(0, 2), (1, 2)]),
    (1, [0, 1, 0, 1], [(0, 2), (1, 2)]),  # as a TPU may order them
    (2, [0, 0, 1, 1], [(0, 2), (1, 2)]),
    (4, [0, 0, 1, 1], [(0, 1), (0, 1)]),  # both hold a part of every image
    (2, [0, 0, 0, 1, 1, 1], None)])
def test_processes_read_the_images_that_their_devices_hold(space, devices, expected, monkeypatch):
    layout = object.__new__(JitLayout)
    layout.space = space
    layout.mesh = types.SimpleNamespace(devices=np.array(
        [types.SimpleNamespace(process_index=process) for process in devices]))
    for process in range(2):
        monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
        if expected is None:
            with pytest.raises(InputError, match='config.parallel.space: 2'):
                layout.share_of_batch()
        else:
            assert layout.share_of_batch() == expected[process]


def test_the_launchers_of_clusters_are_whole():
    subprocess.run(['bash', '-n', CLUSTER / 'slurm.sh'], check=True)
    service, job = yaml.safe_load_all((CLUSTER / 'kubernetes.yaml').read_text())
    spec = job['spec']
    container, = spec['template']['spec']['containers']
    command = container['command']
    devices = spec['completions'] * container['resources']['limits']['nvidia.com/gpu']
    batch_size, = (int(word.partition('=')[2]) for word in command if 'batch_size' in word)
    assert batch_size % devices == 0
    assert spec['completionMode'] == 'Indexed'
    assert f'--processes={spec["completions"]}' in command
    assert spec['completions'] == spec['parallelism']
    assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
    name = f'{job["metadata"]["name"]}-0.{spec["template"]["spec"]["subdomain"]}:8476'
    assert f'--coordinator={name}' in command
    given = processes._place(argparse.Namespace(
        coordinator=name, processes=2, process=1, coordinator_timeout=900), {})
    assert given['process_id'] == 1
