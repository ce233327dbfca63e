"""Masks that are drawn from the shapes of annotated objects."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.data.mask_reader import different_sizes
from jaxseg.data.pairs import Pair
from jaxseg.data.shapes import Figure, outside
from jaxseg.data.spec import DatasetSpec
from jaxseg.errors import InputError


class Shape(NamedTuple):
    """One object: the name of its class, its figure, and whether its pixels are void.

    A void shape without a label is void for every class.
    """

    label: str | None
    figure: Figure
    void: bool = False


class Drawing(NamedTuple):
    """The shapes of one image in the order of the file, and its (height, width) if stated."""

    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class DrawnMasks:
    """Draws shapes, the largest first, so that none hides a smaller one.

    The size of a shape is the number of its pixels in the image; of equal ones the later one in the
    file is on top. With overlapping masks every shape is drawn into the mask of its class, where
    void gives way to objects.

    Attributes:
      spec: classes and void label. Labels that are no class are not drawn.
      drawings: the shapes of each image, by annotation file and image file; an image that is not
        there has none.
    """

    spec: DatasetSpec
    drawings: Mapping[tuple[pathlib.Path, pathlib.Path], Drawing]

    def read(self, pair: Pair) -> np.ndarray:
        """See `mask_reader.MaskReader`."""
        drawing = self._drawing(pair)
        size = drawing.size or file_info(pair.image).size
        problems = _outside(pair, drawing, size)
        if problems:
            raise InputError(problems[0])
        try:
            patches = [(shape, shape.figure.draw(*size)) for shape in drawing.shapes]
        except InputError as error:
            raise InputError(f'{pair.masks[0]}: {pair.name}: {error}') from None
        patches.sort(key=lambda each: -int(each[1].inside.sum()))
        if self.spec.overlapping:
            return self._separate(patches, size)
        index = {name: label for label, name in enumerate(self.spec.classes)}
        mask = np.zeros(size, np.uint16 if self.spec.ignore_index > 255 else np.uint8)
        for shape, patch in patches:
            label = self.spec.ignore_index if shape.void else index.get(shape.label)
            if label is not None:
                mask[patch.place][patch.inside] = label
        return mask

    def header_problems(self, pair: Pair, image: FileInfo) -> list[str]:
        """See `mask_reader.MaskReader`."""
        drawing = self._drawing(pair)
        if drawing.size and drawing.size != image.size:
            return [different_sizes(pair, pair.masks[0], image.size, drawing.size)]
        return _outside(pair, drawing, image.size)

    def stored_bytes(self, pair: Pair) -> int:
        """See `mask_reader.MaskReader`: the coordinates and run lengths of its shapes."""
        return sum(shape.figure.stored_bytes for shape in self._drawing(pair).shapes)

    def _drawing(self, pair: Pair) -> Drawing:
        return self.drawings.get((pair.masks[0], pair.image), Drawing(()))

    def _separate(self, patches: Sequence[tuple], size: tuple[int, int]) -> np.ndarray:
        """(H, W, classes) of 0, 1 and void."""
        index = {name: label for label, name in enumerate(self.spec.classes)}
        masks = np.zeros((*size, len(index)), np.uint8)
        for shape, patch in sorted(patches, key=lambda each: not each[0].void):
            channels = [index[shape.label]] if shape.label in index else (
                list(index.values()) if shape.void and shape.label is None else [])
            for channel in channels:
                value = self.spec.ignore_index if shape.void else 1
                masks[..., channel][patch.place][patch.inside] = value
        return masks


def _outside(pair: Pair, drawing: Drawing, size: tuple[int, int]) -> list[str]:
    """A message if shapes are not in the image at all; parts of them may be."""
    lost = [shape for shape in drawing.shapes if outside(shape.figure, *size)]
    if not lost:
        return []
    left, top, right, bottom = lost[0].figure.box
    label = 'void' if lost[0].label is None else repr(lost[0].label)
    return [f'{pair.masks[0]}: {pair.name}: {len(lost)} of {len(drawing.shapes)} shapes lie '
            f'outside of the image of {size[1]}x{size[0]} pixels, such as {label} at x {left:g} '
            f'to {right:g}, y {top:g} to {bottom:g}; correct or remove them']
