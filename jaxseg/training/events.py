"""TensorBoard events, where tensorboardX is installed.

They are written by the thread that calls: the SummaryWriter of tensorboardX has a thread and a
function at exit, both of which print tracebacks where the disk is full.
"""

import importlib.util
import math
import pathlib
import time
from collections.abc import Mapping

from jaxseg.files import naming

# Seconds between two writings to the disk, for each of which the training waits.
INTERVAL = 30


class Events:
    """Appends scalars to a file of events in `directory`.

    Events of earlier parts of the run, from step `first` on, are purged by TensorBoard.
    """

    def __init__(self, directory: pathlib.Path, first: int):
        from tensorboardX.event_file_writer import EventsWriter  # an extra
        from tensorboardX.proto.event_pb2 import SessionLog

        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._writer = EventsWriter(str(directory / 'events'))
        self._add(first, session_log=SessionLog(status=SessionLog.START))
        self._flushed = -math.inf

    def add(self, step: int, values: Mapping[str, float]):
        """Adds the values of a step that are finite: the score of no pixel is NaN, a gap."""
        from tensorboardX.proto.summary_pb2 import Summary

        self._add(step, summary=Summary(value=[
            Summary.Value(tag=name, simple_value=value) for name, value in values.items()
            if math.isfinite(value)]))
        if time.monotonic() - self._flushed > INTERVAL:
            with naming(self._directory):
                self._writer.flush()
            self._flushed = time.monotonic()

    def close(self):
        """Writes what is pending and closes the file."""
        with naming(self._directory):
            self._writer.close()

    def _add(self, step: int, **content: object):
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))


def open_events(directory: pathlib.Path, first: int) -> Events | None:
    """None where tensorboardX is not installed."""
    return Events(directory, first) if importlib.util.find_spec('tensorboardX') else None
