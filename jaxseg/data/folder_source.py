"""Access to the image and mask files of one split."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg.data.decode import check_image, read_image
from jaxseg.data.file_info import file_info
from jaxseg.data.mask_reader import MaskReader, different_sizes
from jaxseg.data.pairs import Pair
from jaxseg.data.sample_check import Shown, check_samples, shown_in
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError


class FolderSource:
    """The pairs of one split, decoded on access.

    Attributes:
      pairs: the files of each sample.
      skipped: what the folders hold besides, as text: `3 left out: 2 .txt, 1 hidden or system`;
        empty if nothing.
    """

    def __init__(self, split: str, pairs: Sequence[Pair], masks: MaskReader, spec: DatasetSpec,
                 skipped: str = ''):
        self.pairs, self.skipped = tuple(pairs), skipped
        self._split, self._masks, self._spec = split, masks, spec

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample.

        Raises:
          InputError: a file cannot be decoded, sizes differ, or a label or color is outside the
            classes.
        """
        pair = self.pairs[index]
        image, mask = self._image(pair), self._masks.read(pair)
        if image.shape[:2] != mask.shape[:2]:
            raise InputError(_sizes(pair, image, mask))
        return {'image': image, 'mask': mask, 'name': pair.name}

    def mask(self, index: int) -> np.ndarray:
        """The mask of one sample, without its image."""
        return self._masks.read(self.pairs[index])

    @property
    def names(self) -> tuple[str, ...]:
        """The stem of every pair, in order."""
        return tuple(pair.name for pair in self.pairs)

    def with_pairs(self, split: str, pairs: Sequence[Pair]) -> 'FolderSource':
        """Other pairs of the same data set, as a split of this name."""
        return FolderSource(split, pairs, self._masks, self._spec)

    def sizes(self) -> set[tuple[int, int]]:
        """Every (height, width) that occurs, read from the headers."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return set(pool.map(lambda pair: file_info(pair.image).size, self.pairs))

    def file_size(self, index: int) -> int:
        """Bytes of the image and the annotation of one sample."""
        pair = self.pairs[index]
        return pair.image.stat().st_size + self._masks.stored_bytes(pair)

    def check(self, index: int) -> list[str]:
        """All that is wrong with one pair."""
        return self._examine(index)[0]

    def check_files(self):
        """Reads the headers of all pairs and decodes them all, or a seeded sample of 2,000.

        Raises:
          InputError: see `sample_check.check_samples`.
        """
        check_samples(self._split, self._spec, len(self), self._examine, self._header_problems)

    def _image(self, pair: Pair) -> np.ndarray:
        return read_image(pair.image, self._spec.channels, self._spec.value_range)

    def _examine(self, index: int) -> tuple[list[str], Shown | None]:
        """All that is wrong with one pair, and what its mask shows if it can be read."""
        pair, problems, arrays = self.pairs[index], [], {}
        for part, read in (('image', self._image), ('mask', self._masks.read)):
            try:
                arrays[part] = read(pair)
            except InputError as error:
                problems.append(str(error))
        if len(arrays) == 2 and arrays['image'].shape[:2] != arrays['mask'].shape[:2]:
            problems.append(_sizes(pair, arrays['image'], arrays['mask']))
        return problems, shown_in(arrays['mask'], self._spec) if 'mask' in arrays else None

    def _header_problems(self, index: int) -> list[str]:
        pair, problems = self.pairs[index], []
        try:
            image = file_info(pair.image)
            check_image(image, self._spec.channels, self._spec.value_range, str(pair.image))
            problems += self._masks.header_problems(pair, image)
        except InputError as error:
            problems.append(str(error))
        return problems


def _sizes(pair: Pair, image: np.ndarray, mask: np.ndarray) -> str:
    return different_sizes(pair, next(iter(pair.masks), None), image.shape, mask.shape)
