"""From the annotation of an image to its mask: the interface, and masks stored in files."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.data.labels import Labels
from jaxseg.data.masks import check_mask, read_mask
from jaxseg.data.pairs import Pair
from jaxseg.errors import InputError


class MaskReader(Protocol):
    """Makes the masks of a data set from what is stored beside its images."""

    def read(self, pair: Pair) -> np.ndarray:
        """(H, W) class indices and void; with overlapping masks (H, W, classes) of 0, 1 and void.

        Raises:
          InputError: the annotation cannot be used.
        """

    def header_problems(self, pair: Pair, image: FileInfo) -> list[str]:
        """What is wrong with an annotation as far as its headers tell, given that of the image.

        Raises:
          InputError: a file cannot be used.
        """

    def stored_bytes(self, pair: Pair) -> int:
        """The size of the annotation, which shows that it was replaced."""


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """Masks in files: one of class indices or colors, or a binary one for each class."""

    labels: Labels

    def read(self, pair: Pair) -> np.ndarray:
        """See `MaskReader`."""
        if not self.labels.spec.overlapping:
            return self.labels.decode(read_mask(pair.masks[0]), str(pair.masks[0]))
        masks = {path: self.labels.decode_binary(read_mask(path), str(path))
                 for path in pair.masks if path is not None}
        shape = next(iter(masks.values())).shape if masks else file_info(pair.image).size
        for path, mask in masks.items():
            if mask.shape != shape:
                raise InputError(different_sizes(pair, path, shape, mask.shape))
        absent = np.zeros(shape, np.uint8)
        return np.stack([absent if path is None else masks[path] for path in pair.masks], -1)

    def header_problems(self, pair: Pair, image: FileInfo) -> list[str]:
        """See `MaskReader`."""
        return mask_header_problems(pair, image)

    def stored_bytes(self, pair: Pair) -> int:
        """See `MaskReader`."""
        return sum(os.stat(path).st_size for path in pair.masks if path is not None)


def mask_header_problems(pair: Pair, image: FileInfo) -> list[str]:
    """Mask files that are no masks or have another size than the image, by their headers."""
    problems = []
    for path in pair.masks:
        mask = image if path is None else file_info(path)
        if path is not None:
            check_mask(mask, str(path))
        if mask.size != image.size:
            problems.append(different_sizes(pair, path, image.size, mask.size))
    return problems


def different_sizes(pair: Pair, path: pathlib.Path | None, image: Sequence[int],
                    mask: Sequence[int]) -> str:
    """The message for a mask of another (height, width) than its image."""
    return (f'{path or pair.name}: mask of {mask[1]}x{mask[0]} pixels for an image of '
            f'{image[1]}x{image[0]} ({pair.image}); export both at the same size')
