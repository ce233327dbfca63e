"""What images an exported model takes, and which sizes are tried where not all are possible."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxseg.fields import PositiveInt, check_fields


@dataclasses.dataclass(frozen=True)
class Images:
    """A batch of images (batch, height, width, channels); None stands for any number.

    Args:
      dtype: of the pixels, as the training data were read.
    """

    batch: PositiveInt | None
    height: PositiveInt | None
    width: PositiveInt | None
    channels: PositiveInt
    dtype: str

    def __post_init__(self):
        check_fields(self, 'images')

    @property
    def shape(self) -> tuple[int | None, int | None, int | None, int]:
        """The four sides."""
        return self.batch, self.height, self.width, self.channels

    def __str__(self) -> str:
        sides = ('any' if side is None else str(side) for side in self.shape)
        return f'{self.dtype} ({", ".join(sides)})'


class Exported(NamedTuple):
    """A program, what images it takes, and why these are fewer than those that were asked for."""

    program: Any
    images: Images
    reason: str = ''


def export_most_general(convert: Callable[[Images], Any], images: Images, size: tuple[int, int]
                        ) -> Exported:
    """Converts for the images asked for; where that fails for one size, then for one batch size.

    Args:
      convert: images -> program; raises any exception where the model cannot be traced for them.
      size: height and width to fall back to.
    """
    *attempts, last = _attempts(images, size)
    reason = ''
    for attempt in attempts:
        try:
            return Exported(convert(attempt), attempt, reason)
        except Exception as error:  # a model stops at unknown sizes with whatever its code raises
            reason = reason or f'{type(error).__name__}: {_first_line(error)}'
    return Exported(convert(last), last, reason)


def _attempts(images: Images, size: tuple[int, int]) -> Iterator[Images]:
    yield images
    if images.height is None or images.width is None:
        images = dataclasses.replace(images, height=images.height or size[0],
                                     width=images.width or size[1])
        yield images
    if images.batch is None:
        yield dataclasses.replace(images, batch=1)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [''])[0]
