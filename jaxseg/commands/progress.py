"""A progress line for commands that go through many images: on a terminal only."""

import sys
import time

STEP = 0.2  # seconds between two changes of the line


class Progress:
    """Shows how many images are done, images a second and the remaining time.

    Nothing is printed where the output is no terminal, as in the log of a job.

    Args:
      total: number of images.
    """

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._start = self._now = time.perf_counter()
        self._shown = -STEP
        self._terminal = sys.stdout.isatty()

    @property
    def rate(self) -> float:
        """Images a second until the last one, the compilation included."""
        return self._done / max(self._now - self._start, 1e-9)

    def add(self, count: int = 1):
        """Counts images that are done."""
        self._done += count
        self._now = time.perf_counter()
        if self._terminal and (self._now - self._shown > STEP or self._done == self._total):
            self._shown = self._now
            left = round((self._total - self._done) / self.rate)
            print(f'\r\x1b[K{self._done}/{self._total} images  {self.rate:.3g} images/s  '
                  f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left', end='', flush=True)

    def clear(self):
        """Removes the line, so that others can be printed."""
        if self._terminal:
            print('\r\x1b[K', end='', flush=True)
