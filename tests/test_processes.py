"""Several processes: found, stopped and ended together; their run is that of one."""

import argparse
import csv
import pathlib
import shutil
import signal
import subprocess
import threading
import types

import jax
import numpy as np
import pytest
import yaml

from experiments.cluster import local
from jaxseg.commands import main, processes
from jaxseg.commands.scoring import ObservedMetrics
from jaxseg.commands.stop import SharedStop
from jaxseg.commands.workdir import open_workdir
from jaxseg.data.pipeline import eval_samples
from jaxseg.data.synthetic import Shapes
from jaxseg.errors import InputError
from jaxseg.training.layout import JitLayout
from tests import runs

CLUSTER = pathlib.Path(local.__file__).parent
# An evaluation of 3 images in 2 processes, random flips, and 2 devices a process.
TRAIN = ('--config.steps=6', '--config.evaluate_every=3', '--config.report_every=1')


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


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    result = runs.finish('train', f'--config={runs.write_config(tmp_path)}',
                         f'--workdir={tmp_path}/work', '--processes=2', '--process=1',
                         f'--coordinator=127.0.0.1:{local.free_port()}',
                         '--coordinator_timeout=1')
    assert result.returncode == 2 and result.stderr.count('\n') == 1
    assert 'process 1: the coordinator 127.0.0.1:' in result.stderr


@pytest.mark.parametrize('size', [1, 5, 7])
def test_every_sample_is_scored_by_one_process(size):
    source = Shapes(size=(32, 32), samples={'val': size}).source('val')
    spec = Shapes(size=(32, 32), samples={'val': size}).spec
    shares = [[sample['index'] for sample in eval_samples(
        source, spec=spec, process_index=index, process_count=3)] for index in range(3)]
    assert sum(shares, []) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


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


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    """Two processes with two devices each, stopped once, and one process with four."""
    folder = tmp_path_factory.mktemp('processes')
    given = ('train', f'--config={runs.write_config(folder)}')
    assert main([*given, f'--workdir={folder}/one', *TRAIN]) == 0
    command = (*given, f'--workdir={folder}/two', *TRAIN)
    started, before = start(command), ''
    for line in started[0].stdout:
        before += line
        if 'step 2/' in line:
            started[1].send_signal(signal.SIGTERM)
            break
    stopped = end(started)
    return folder, (stopped[0], before + stopped[1], stopped[2]), end(start(command))


def start(command):
    return local.start(2, command, ['JAX_NUM_CPU_DEVICES=2'], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(started):
    """Statuses, output of process 0, and errors of all."""
    out, error = started[0].communicate(timeout=180)
    errors = [error, started[1].communicate(timeout=180)[1]]
    assert local.wait(started) == max(process.returncode for process in started)
    return [process.returncode for process in started], out, ''.join(errors)


def test_a_signal_to_one_process_stops_both_after_the_same_step(together):
    _, (statuses, out, error), (again, later, nothing) = together
    assert statuses == [130, 130] and again == [0, 0]
    assert error.split('\n') == [
        '', 'stopping after this step; a second signal stops at once and loses it', '']
    assert nothing == '' and 'stopped and saved step' in out
    step = out.split('stopped and saved step ')[1].split(';')[0]
    assert f'steps {step} to 6' in later and 0 < int(step) < 6


def test_two_processes_train_as_one(together):
    folder, (_, before, _), (_, after, _) = together
    rows = []
    for name in ('one', 'two'):
        with (folder / name / 'metrics.csv').open(newline='') as file:
            rows.append([{key: float(value) for key, value in row.items()
                          if value and key != 'images_per_second'} for row in csv.DictReader(file)])
    assert len(rows[0]) == 8
    for one, two in zip(*rows, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    lines = [line for line in (before + after).splitlines() if line.startswith('step ')]
    assert len(lines) == len({line.split('images/s')[0] for line in lines}) == 8
    values = [open_workdir(folder / name).variables('latest') for name in ('one', 'two')]
    assert values[0][0] == values[1][0] == 6
    for one, two in zip(*(jax.tree.leaves(value) for _, value in values), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    files = [sorted(path.name for path in (folder / name).iterdir()) for name in ('one', 'two')]
    assert files[0] == files[1]


def test_two_processes_score_as_one(together):
    folder, *_ = together
    shutil.copytree(folder / 'two', folder / 'copy')
    command = ('evaluate', '--metrics=boundary', '--num_images=2')
    statuses, _, error = end(start((*command, f'--workdir={folder}/two')))
    assert (statuses, error) == ([0, 0], '')
    assert main([*command, f'--workdir={folder}/copy']) == 0
    for name in ('evaluation_val.json', 'evaluation_val_images.csv', 'predictions/val.png'):
        assert (folder / 'two' / name).read_bytes() == (folder / 'copy' / name).read_bytes()


def test_the_launchers_of_clusters_are_whole():
    subprocess.run(['bash', '-n', CLUSTER / 'slurm.sh'], check=True)
    service, job = yaml.safe_load_all((CLUSTER / 'kubernetes.yaml').read_text())
    spec = job['spec']
    command = spec['template']['spec']['containers'][0]['command']
    assert spec['completionMode'] == 'Indexed'
    assert f'--processes={spec["completions"]}' in command
    assert spec['completions'] == spec['parallelism']
    assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
    name = f'{job["metadata"]["name"]}-0.{spec["template"]["spec"]["subdomain"]}:8476'
    assert f'--coordinator={name}' in command
    given = processes._place(argparse.Namespace(
        coordinator=name, processes=2, process=1, coordinator_timeout=900), {})
    assert given['process_id'] == 1
