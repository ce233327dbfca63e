"""Events of TensorBoard, and checkpoints: errors of the disk, and kills while one is deleted."""

import errno
import struct
import sys
import types

import jax.numpy as jnp
import pytest

from jaxseg import commands
from jaxseg.training.checkpoint import Checkpoints
from jaxseg.training.events import open_events
from jaxseg.training.restore import list_checkpoints

FULL = ('RESOURCE_EXHAUSTED: Error writing local file "a": Failed to write 181 bytes to file 21: '
        "No space left on device [tensorstore_spec='{}'] [os_error_code='28']")


def read_events(path):
    """Events of a file: every record is its length, a checksum, the event and a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, found = path.read_bytes(), []
    while content:
        size = struct.unpack('Q', content[:8])[0]
        found.append(Event.FromString(content[12:12 + size]))
        content = content[16 + size:]
    return found


def test_events_hold_the_finite_values_of_every_step(tmp_path):
    pytest.importorskip('tensorboardX')
    from tensorboardX.proto.event_pb2 import SessionLog

    events = open_events(tmp_path / 'events', 5)
    events.add(5, {'loss': 0.5, 'val_miou': float('nan')})
    path, = (tmp_path / 'events').iterdir()
    assert len(read_events(path)) == 3  # the first values are there at once
    events.add(6, {'loss': 0.25})
    events.close()
    version, start, *steps = read_events(path)
    assert version.file_version == 'brain.Event:2'
    assert (start.step, start.session_log.status) == (5, SessionLog.START)
    assert [(event.step, [(value.tag, value.simple_value) for value in event.summary.value])
            for event in steps] == [(5, [('loss', 0.5)]), (6, [('loss', 0.25)])]


@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'),
                                   ValueError(FULL)])
@pytest.mark.parametrize('method', ['wait', 'close'])
def test_a_full_disk_is_named_with_its_folder(tmp_path, monkeypatch, error, method):
    def fail():
        raise error

    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    name = {'wait': 'wait_until_finished', 'close': 'close'}[method]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, name, fail)
        with pytest.raises(OSError, match='No space left on device') as found:
            getattr(checkpoints, method)()
    checkpoints.close()
    assert found.value.errno == errno.ENOSPC
    assert found.value.filename == str(tmp_path / 'checkpoints')


def test_an_error_that_is_not_the_disks_stays_as_it_is(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / 'checkpoints')
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, 'wait_until_finished', lambda: {}['none'])
        with pytest.raises(KeyError, match='none'):
            checkpoints.wait()
    checkpoints.close()


def test_a_checkpoint_is_moved_before_it_is_deleted_so_that_a_kill_leaves_no_half(tmp_path,
                                                                                 monkeypatch):
    def save(checkpoints, *steps):
        for step in steps:
            checkpoints.save(step, {'a': jnp.ones(2), 'count': jnp.ones(1)},
                             lambda state: {'params': state['a']}, step)

    checkpoints = Checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr('shutil.rmtree', lambda *_, **__: None)  # killed before anything is deleted
        save(checkpoints, 1, 2, 3)
        checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['2', '3', 'deleted']
    found, damaged = list_checkpoints(tmp_path / 'deleted')
    assert list(found) == [1] and not damaged
    checkpoints = Checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['2', '3']
    save(checkpoints, 4)
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['3', '4']


def test_a_link_to_another_folder_is_not_followed_when_checkpoints_are_deleted(tmp_path):
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'file').touch()
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'deleted').symlink_to(tmp_path / 'other')
    Checkpoints(tmp_path / 'checkpoints').close()
    assert (tmp_path / 'other' / 'file').exists()
    assert not list((tmp_path / 'checkpoints').iterdir())


@pytest.mark.parametrize('message, shown', [('Event loop is closed', 0), ('another', 1)])
def test_only_what_tensorstore_prints_is_left_out(monkeypatch, message, shown):
    found = []
    monkeypatch.setattr(sys, '__unraisablehook__', found.append)
    commands._print_unraisable(types.SimpleNamespace(exc_value=RuntimeError(message)))
    assert len(found) == shown
