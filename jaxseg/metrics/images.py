"""Counts of every image by itself: which images are worst, and what varies between them."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg.errors import InputError
from jaxseg.files import replacing
from jaxseg.metrics.report import (
    check_indices,
    check_shapes,
    class_masks,
    json_values,
    mean_of_known,
    text_table,
)

COLUMNS = ('image', 'class', 'tp', 'fp', 'fn')
DIGITS = 18  # of a count that fits into int64


@dataclasses.dataclass(frozen=True, eq=False)  # the `==` of two arrays is no bool
class ImageCounts:
    """True positives, false positives and false negatives of every image and class.

    Scores of images are not those of the data set: in the confusion matrix every pixel counts
    alike, here every image does, so that small objects count more (Wang et al. 2023, "Revisiting
    evaluation metrics for semantic segmentation", where the mean is called mIoU^I).

    Args:
      names: of the images.
      rows: `[tp, fp, fn]` of each image, int64 (3, classes).
      classes: their names.
    """

    names: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    classes: tuple[str, ...]

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> 'ImageCounts':
        """Nothing counted yet."""
        return cls((), (), tuple(classes))

    def count(self, labels: np.ndarray, predictions: np.ndarray, valid: np.ndarray, name: str
              ) -> 'ImageCounts':
        """With one more image.

        All are copied: of many images, count each by itself and `merge` them at once.

        Args:
          labels: class indices (H, W), or 0 and 1 (H, W, classes); any value where not valid.
          predictions, valid: of the same shape.
          name: of the image.
        """
        labels, predictions, valid = map(np.asarray, (labels, predictions, valid))
        check_shapes(labels, predictions, valid)
        classes = len(self.classes)
        if labels.ndim == 2:
            truth, guess = labels[valid], predictions[valid]
            check_indices(truth, guess, classes)
            both, true, guessed = (np.bincount(indices, minlength=classes)
                                   for indices in (truth[truth == guess], truth, guess))
        else:
            both, true, guessed = np.array([
                [np.count_nonzero(mask) for mask in (truth & guess, truth, guess)]
                for truth, guess, _ in class_masks(labels, predictions, valid, classes)]).T
        row = np.stack([both, guessed - both, true - both]).astype(np.int64)
        return dataclasses.replace(self, names=(*self.names, name), rows=(*self.rows, row))

    def merge(self, *others: 'ImageCounts') -> 'ImageCounts':
        """The images of all, such as those of several processes."""
        assert all(self.classes == other.classes for other in others)
        parts = self, *others
        return dataclasses.replace(self, names=tuple(name for one in parts for name in one.names),
                                   rows=tuple(row for one in parts for row in one.rows))

    def ordered(self, indices: Sequence[int]) -> 'ImageCounts':
        """The images in the order of their indices, one for each of them."""
        order = np.argsort(indices, kind='stable')
        return dataclasses.replace(self, names=tuple(self.names[i] for i in order),
                                   rows=tuple(self.rows[i] for i in order))

    @property
    def tp(self) -> np.ndarray:
        """True positives, int64 (images, classes)."""
        return self._column(0)

    @property
    def fp(self) -> np.ndarray:
        """False positives, int64 (images, classes)."""
        return self._column(1)

    @property
    def fn(self) -> np.ndarray:
        """False negatives, int64 (images, classes)."""
        return self._column(2)

    def _column(self, index: int) -> np.ndarray:
        return np.array([row[index] for row in self.rows], np.int64).reshape(-1, len(self.classes))

    def iou(self) -> np.ndarray:
        """Float64 (images, classes), NaN for a class in neither label nor prediction."""
        tp, fp, fn = self.tp, self.fp, self.fn
        with np.errstate(invalid='ignore'):
            return tp / (tp + fp + fn)

    def image_miou(self) -> np.ndarray:
        """The mean IoU of each image over the classes that it has, (images,)."""
        return np.array([mean_of_known(row) for row in self.iou()], float)

    def lowest(self) -> str:
        """The name of the image with the lowest mean IoU, '' where none has one."""
        scores = np.nan_to_num(self.image_miou(), nan=math.inf)
        known = np.isfinite(scores).any()
        return self.names[scores.argmin()] if known else ''

    def per_class(self) -> dict[str, np.ndarray]:
        """Mean, median and lowest IoU over the images that have the class, and their share."""
        columns = [column[~np.isnan(column)] for column in self.iou().T]
        return {'mean': _over(np.mean, columns), 'median': _over(np.median, columns),
                'lowest': _over(np.min, columns),
                'images': np.array([column.size for column in columns]) / max(len(self.names), 1)}

    def summary(self) -> dict[str, float]:
        """Mean, median and lowest of the mean IoUs of the images."""
        scores = self.image_miou()
        known = [scores[~np.isnan(scores)]]
        return {f'{name}image_miou': float(_over(function, known)[0])
                for name, function in (('', np.mean), ('median_', np.median), ('lowest_', np.min))}

    def json(self) -> dict:
        """The scores as plain values, None for NaN; the counts are written as CSV."""
        return json_values(self.classes, self.per_class(), self.summary())

    def table(self) -> str:
        """All scores as text, in per cent."""
        return text_table(self.classes, self.per_class(), self.summary())

    def csv(self) -> str:
        """One line for every image and class: image, class, tp, fp, fn."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for name, row in zip(self.names, self.rows, strict=True):
            writer.writerows((name, label, *counts) for label, counts in
                             zip(self.classes, row.T.tolist(), strict=True))
        return text.getvalue()

    def write(self, path: pathlib.Path):
        """Writes the CSV; a reader finds the old file or the new one, never a part."""
        with replacing(path) as partial:
            # What is no Unicode, in names of files, becomes an escape.
            partial.write_text(self.csv(), encoding='utf-8', errors='backslashreplace', newline='')

    @classmethod
    def read(cls, path: pathlib.Path) -> 'ImageCounts':
        """What `write` wrote.

        Raises:
          InputError: the file is missing, or not such a table.
        """
        if path.exists() and not path.is_file():  # a pipe would never end
            raise InputError(f'{path}: no regular file; give a file that jaxseg evaluate wrote')
        try:
            text = path.read_bytes().decode('utf-8-sig')
            lines = list(csv.reader(io.StringIO(text, newline=''), strict=True))
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror}); '
                             f'write it with jaxseg evaluate') from None
        except (ValueError, csv.Error) as error:
            raise _damaged(path, str(error)) from None
        return _from_lines(lines, path)


def _over(function, columns: list[np.ndarray]) -> np.ndarray:
    """A statistic of each column, NaN for those without a value."""
    return np.array([function(column) if column.size else math.nan for column in columns], float)


def _from_lines(lines: list[list[str]], path: pathlib.Path) -> ImageCounts:
    if not lines or tuple(lines[0]) != COLUMNS:
        raise _damaged(path, f'the first line is not {",".join(COLUMNS)}')
    images: dict[str, dict[str, list[int]]] = {}
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(COLUMNS) or not all(map(_is_count, line[2:])):
            raise _damaged(path, f'line {number} is not a name, a class and three counts')
        classes = images.setdefault(line[0], {})
        if line[1] in classes:
            raise _damaged(path, f'line {number} has image {line[0]!r} and class {line[1]!r} again')
        classes[line[1]] = [int(text) for text in line[2:]]
    if not images:
        raise _damaged(path, 'it has no image')
    first = tuple(next(iter(images.values())))
    for name, classes in images.items():
        if tuple(classes) != first:
            raise _damaged(path, f'image {name!r} has the classes {", ".join(classes)}, '
                                 f'the first image {", ".join(first)}')
    rows = tuple(np.array(list(counts.values()), np.int64).T for counts in images.values())
    return ImageCounts(tuple(images), rows, first)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS


def _damaged(path: pathlib.Path, problem: str) -> InputError:
    return InputError(f'{path}: not a table of counts of images ({problem}); '
                      f'write it again with jaxseg evaluate')
