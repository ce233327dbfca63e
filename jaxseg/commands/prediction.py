"""From images to files of results: what `predict` does with the images that it found."""

import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.commands.assemble import windowed_note
from jaxseg.commands.large import check_rows, is_large, mask_file, predict_large
from jaxseg.commands.predict_record import PredictRecord
from jaxseg.commands.progress import Progress
from jaxseg.commands.results import Results
from jaxseg.commands.workdir import Workdir
from jaxseg.data.decode import read_image
from jaxseg.data.file_info import file_info
from jaxseg.errors import InputError, printable
from jaxseg.inference.postprocess import decide
from jaxseg.inference.uncertainty import Found, uncertainty

# What is written of images that are read piece by piece.
FROM_DISK = ({'indices'}, {'indices', 'overlays'})


class Prediction:
    """Predicts images and writes their results.

    Args:
      record: of the images that are done.
      images: every image with its place in the output folder, without suffix.
      from_disk: reads all images piece by piece, not only the large ones.

    Attributes:
      done: the places of the images whose results are there.
      problems: one line for every image that could not be read or written.

    Raises:
      InputError: results that are not written of images that are read piece by piece, an inference
        method that takes images in memory only, or a file that no prediction has written in the
        place of a result.
    """

    def __init__(self, run: Workdir, results: Results, output: pathlib.Path, record: PredictRecord,
                 images: Mapping[pathlib.Path, pathlib.Path], *, from_disk: bool = False):
        self._run, self._results, self._output = run, results, output
        self._record, self._images = record, images
        self._large = [path for path in images if from_disk or is_large(path)]
        if self._large and set(results.outputs) not in FROM_DISK:
            raise InputError(f'--outputs={",".join(results.outputs)}: of images that are read '
                             f'piece by piece, as {self._large[0]}, only indices, or indices and '
                             f'overlays, are written')
        if self._large:
            check_rows(run, self._large[0])
        files = itertools.chain.from_iterable(map(self._files, images))
        record.claim([*files, *results.shared_files(output)])
        self.problems: list[str] = []
        self.done = {target for path, target in images.items()
                     if record.done(str(target), path)
                     and all(file.is_file() for file in self._files(path))}
        self._before = len(self.done)
        self._progress = Progress(len(images) - self._before)

    def run(self, variables: Any):
        """Predicts all that is not done."""
        for path in self._large:
            if self._images[path] not in self.done:
                self._write(path, lambda path=path: self._predict_large(variables, path))
        inference, others = self._run.parts.inference, dict.fromkeys(self._images)
        windowed = len(inference.windowed)
        for path in self._large:
            del others[path]
        for group in groups(list(others), self._run.config.batch_size_of_evaluations):
            if self.done.issuperset(self._images[path] for path in group):
                continue
            for path, image, found in self._found(variables, group):
                if self._images[path] not in self.done:
                    self._write(path, lambda path=path, image=image, found=found:
                                self._results.write(self._output / self._images[path],
                                                    self._name(path), image, found))
                if len(inference.windowed) > windowed:
                    windowed = len(inference.windowed)
                    self._say(f'{self._images[path]}: {windowed_note([image.shape[:2]])}')
        self._progress.clear()

    def polygons(self) -> Iterator[tuple[int, pathlib.Path]]:
        """Number and .geojson file of every image that is done, in order."""
        for number, target in enumerate(self._images.values(), 1):
            if target in self.done:
                yield number, self._results.polygons(self._output / target)

    @property
    def speed(self) -> str:
        """Images a second, and how many images were done before, for the last line."""
        before = f', {self._before} of them were there' if self._before else ''
        made = len(self.done) > self._before
        return (f', {self._progress.rate:.3g} images/s' if made else '') + before

    def _files(self, path: pathlib.Path) -> list[pathlib.Path]:
        """The results of an image."""
        place = self._output / self._images[path]
        if path in self._large:
            return [mask_file(path, place), *self._results.files(place, without='indices')]
        return self._results.files(place)

    def _name(self, path: pathlib.Path) -> str:
        """The name of an image within the folder of all images."""
        return (self._images[path].parent / path.name).as_posix()

    def _found(self, variables: Any, group: Sequence[pathlib.Path]
               ) -> Iterator[tuple[pathlib.Path, np.ndarray, Found]]:
        """What is found in the images of a group, in any order."""
        parts = self._run.parts
        if not self._results.needs_probabilities:
            for (path, image), mask in parts.inference.predictions(variables, self._read(group)):
                yield path, image, Found(mask)
            return
        for (path, image), _ in self._read(group):
            pair = uncertainty(parts.inference, variables, image,
                               overlapping=self._run.spec.overlapping)
            yield path, image, Found(decide(parts.inference, parts.task, pair[0]), *pair)

    def _read(self, group: Sequence[pathlib.Path]
              ) -> Iterator[tuple[tuple[pathlib.Path, np.ndarray], np.ndarray]]:
        """The images that can be read, as key with path; the others are added to `problems`."""
        for path in group:
            try:
                image = read_image(path, self._run.spec.channels, self._run.record.value_range)
            except InputError as error:
                self.problems.append(str(error))
                self._progress.add()
                continue
            yield (path, image), image

    def _predict_large(self, variables: Any, path: pathlib.Path):
        self._say(predict_large(self._run, variables, path, self._output / self._images[path],
                                overlays='overlays' in self._results.outputs))

    def _write(self, path: pathlib.Path, write: Callable[[], None]):
        """Writes the results of an image; what prevents it is added to `problems`."""
        place = self._output / self._images[path]
        try:
            self._record.start([str(target) for target in self._images.values()
                                if target not in self.done])
            write()
            self._record.add(str(self._images[path]), path)
            self.done.add(self._images[path])
        except InputError as error:
            self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f'{place}: cannot be written ({error.strerror})')
        except MemoryError as error:
            self.problems.append(f'{place}: out of memory ({error}); cut the image into tiles')
        self._progress.add()

    def _say(self, line: str):
        self._progress.clear()
        print(printable(line), flush=True)


def groups(images: Sequence[pathlib.Path], count: int) -> Iterator[list[pathlib.Path]]:
    """Images of one size, `count` together, and with the last ones those that are left over.

    Which images share a batch changes the last bits of their results. A group goes through the
    model as a whole or not at all, so that it is the same after an interruption.
    """
    by_size: dict[tuple, list[pathlib.Path]] = {}
    for path in images:
        by_size.setdefault(_size(path), []).append(path)
    for paths in by_size.values():
        starts = range(0, max(len(paths) - count, 0) + 1, count)
        for start, end in itertools.pairwise([*starts, len(paths)]):
            yield paths[start:end]


def _size(path: pathlib.Path) -> tuple:
    """Height and width that the header of a file states; nothing if it cannot be read."""
    try:
        info = file_info(path)
    except InputError:  # which reading it will raise again
        return ()
    return info.height, info.width
