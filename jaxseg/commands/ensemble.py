"""The folds of a cross-validation as one model: the mean of their probabilities."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxseg.commands import config as configs
from jaxseg.commands.paths import command
from jaxseg.errors import InputError
from jaxseg.records import read_record

# What makes a folder one of a cross-validation; it is written when all folds are trained.
RECORD = 'crossvalidation.json'


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Several models of one architecture, as an inference method of the tuple of their variables.

    Args:
      method: the inference method of one model.
      decide: probabilities -> mask, of the task.
    """

    method: Any
    decide: Callable[[np.ndarray], np.ndarray]

    def predictions(self, variables: Sequence[Any], images: Iterable[tuple[Any, np.ndarray]]
                    ) -> Iterator[tuple[Any, np.ndarray]]:
        """(key, image (H, W, C)) pairs -> (key, mask of the image's size) pairs, in order."""
        for key, image in images:
            yield key, self.decide(self.probabilities(variables, image))

    def probabilities(self, variables: Sequence[Any], image: np.ndarray) -> np.ndarray:
        """The mean of the models' probabilities of one image, (H, W, channels) float32."""
        total = np.float32(0)
        for each in variables:
            total = total + np.asarray(self.method.probabilities(each, image))
        return total / np.float32(len(variables))

    def variance(self, variables: Sequence[Any], image: np.ndarray) -> np.ndarray:
        """The variance over the models, summed over the channels, (H, W) float32."""
        return self.moments(variables, image)[1]

    def moments(self, variables: Sequence[Any], image: np.ndarray
                ) -> tuple[np.ndarray, np.ndarray]:
        """`probabilities` and `variance` of one image, computed together."""
        found = [np.asarray(self.method.probabilities(each, image)) for each in variables]
        variance = np.var(found, 0, dtype=np.float64).sum(-1).astype(np.float32)
        return sum(found, np.float32(0)) / np.float32(len(found)), variance

    @property
    def compilations(self) -> int:
        """Number of programs compiled and kept, which the models share."""
        return self.method.compilations

    @property
    def windowed(self) -> Sequence:
        """Sizes of the images that were too large in one piece, once for each model."""
        return self.method.windowed

    def __getattr__(self, name: str) -> Any:
        """Post-processing, if the method has it, and `rows`, if it takes images from disk."""
        if name == 'clean':
            return self.method.clean
        if name == 'rows' and hasattr(self.method, 'probability_rows'):
            return self._rows
        raise AttributeError(name)

    def _rows(self, variables: Sequence[Any], image: Any) -> Iterator[np.ndarray]:
        """The mask of one image that may be on disk, in pieces of some rows."""
        every = [self.method.probability_rows(each, image) for each in variables]
        for pieces in zip(*every, strict=True):
            yield self.decide(sum(pieces, np.float32(0)) / np.float32(len(pieces)))


def fold_folder(directory: pathlib.Path, fold: int) -> pathlib.Path:
    """The work directory of a fold."""
    return directory / f'fold{fold}'


def is_crossvalidation(path: pathlib.Path) -> bool:
    """Whether a folder holds a complete cross-validation, and is no run itself."""
    return (path / RECORD).is_file() and not (path / 'config.json').exists()


def member_folders(path: pathlib.Path, read_config: Callable[[pathlib.Path], dict]
                   ) -> tuple[pathlib.Path, ...]:
    """The folders of the folds of a complete cross-validation.

    Args:
      read_config: the config of the run in a folder.

    Raises:
      InputError: crossvalidation.json or a fold is damaged or missing, or a fold is of another
        config.
    """
    folds = read_record(path / RECORD).get('folds')
    if not isinstance(folds, int) or folds < 1:
        raise InputError(f'{path / RECORD}: folds is {folds!r}, expected their number; regenerate '
                         f'it: {command("crossvalidate", workdir=path)}')
    folders = tuple(fold_folder(path, fold) for fold in range(folds))
    first = read_config(folders[0])
    for folder in folders[1:]:
        different = configs.difference(first, read_config(folder))
        different.pop('data.fold', None)
        if different:
            key, (one, other) = next(iter(different.items()))
            raise InputError(f'{folder} was trained with {key} = {other!r}, and {folders[0]} with '
                             f'{one!r}: these are no folds of one cross-validation; train in '
                             f'another folder, or restore {folder}')
    return folders
