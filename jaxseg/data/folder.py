"""A folder of images and masks."""

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from jaxseg.data.file_dataset import FileDataset, check_names
from jaxseg.data.labels import OPTIONS, Labels
from jaxseg.data.mask_reader import MaskFiles
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.pairs import Listed, Listing
from jaxseg.data.spec import VoidLabel
from jaxseg.errors import InputError

# Masks that are decoded to decide how all of them store classes.
SURVEYED = 32


@dataclasses.dataclass(frozen=True)
class Folder(FileDataset):
    """The user's own images and masks, paired by their stems.

    Layouts, where `naming` may give the folders `images` and `masks` other names:
      `root/SPLIT/images/STEM.*` and `root/SPLIT/masks/STEM.*`; or `root/images/SPLIT/STEM.*` and
      `root/masks/SPLIT/STEM.*`; or `root/images/STEM.*` and `root/masks/STEM.*` with lists
      `root/SPLIT.txt` of stems, or with `splits={'train': 0.8, 'val': 0.1, 'test': 0.1}`: shares of
      the stems. The split of a stem depends on the stem, `split_seed` and the shares alone
      (`splits.assign_split`): new images move no other.
    SPLIT is train, val, test, or any other name; training, valid, validation and testing stand for
    the first three. Subfolders of a folder that holds no image itself are searched; where several
    have one stem, all stems begin with their names: `images/train/video1/0001.jpg` is video1_0001.
    An image in two of the splits train, val and test is a problem: in lists any stem, in folders
    equal files.

    `classes`, `colors`, `ignore_index` and `value_range` come from `root/dataset.json` where the
    config does not state them, `mean` and `std` (one a channel, after `value_range` was mapped to
    0-1) and `name` always; void is 255 where neither states it.

    Attributes:
      root, classes, colors, channels, value_range, splits, split_seed: see `FileDataset`.
      ignore_index: the void label of the masks.
      overlapping: masks of different classes may overlap. `masks/CLASS/STEM.*` (in each of the
        layouts above) are then binary files; for a single class `masks/STEM.*` will do. Samples
        have masks (H, W, classes) of 0, 1 and void.
      missing_masks: 'refuse' calls an image without mask a problem. 'skip' leaves it out, and
        `jaxseg inspect` prints how many these are; with overlapping masks, 'absent' states that no
        file for a class means that it does not occur in the image.
      naming: may hold `images` and `masks`, the names of the two folders ('.' for the folder above
        them), `image_suffix` and `mask_suffix`, the ends of the stems that pairs do not share:
        `{'masks': 'labels', 'mask_suffix': '_mask'}` pairs images/a.jpg with labels/a_mask.png;
        `lists`, the folder of the lists; `group`, a regular expression for `splits`: stems in which
        it finds the same text are in one split, such as `{'group': '^scene[0-9]+'}` for tiles of
        one scene or frames of one video.
      labels: options of `jaxseg.data.labels.Labels`.

    Raises:
      InputError: see `FileDataset`.
    """

    ignore_index: VoidLabel | None = None
    overlapping: bool = False
    missing_masks: Literal['refuse', 'skip', 'absent'] = 'refuse'
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    naming_keys = frozenset({'images', 'masks', 'image_suffix', 'mask_suffix', 'lists', 'group'})
    holds = 'images/ and masks/, or train/, val/ and test/ with these in each'

    def __post_init__(self):
        super().__post_init__()
        if self.missing_masks == 'absent' and not self.overlapping:
            raise InputError("data.missing_masks: 'absent' has no effect without overlapping "
                             "masks; remove it, or set data.overlapping=true")
        if self.missing_masks == 'skip' and self.overlapping:
            raise InputError("data.missing_masks: 'skip' is not known of overlapping masks; give "
                             "'absent' where no file means that a class does not occur")

    @functools.cached_property
    def _listing(self) -> Listing:
        kind = _Masked if self.missing_masks == 'skip' else Listing
        return kind(self._root, **self._names, fractions=self.splits, seed=self.split_seed,
                    classes=tuple(self._classes) if self.overlapping else None,
                    absent=self.missing_masks == 'absent')

    @functools.cached_property
    def _masks(self) -> MaskFiles:
        return MaskFiles(self._labels)

    @functools.cached_property
    def _labels(self) -> Labels:
        """How masks store classes."""
        check_names('data.labels', self.labels, set(OPTIONS))
        options = {**self.presets.get('labels', {}), **self.labels}
        options.setdefault('ignore_color', self._json.get('ignore_color'))
        if self._stated('ignore_index') is not None:
            options.setdefault('binary', False)
        labels = Labels(self.spec, **options, stated_colors=bool(self._stated('colors')))
        if labels.ignore_color in self.spec.colors:
            name = self.spec.classes[self.spec.colors.index(labels.ignore_color)]
            raise InputError(f'ignore_color: {labels.ignore_color} is also the color of the class '
                             f'{name!r}; give void a color of its own')
        return labels if self.overlapping else labels.survey(self._some_masks())

    def _some_masks(self) -> Iterator[RawMask]:
        """Masks spread over all splits."""
        paths = [pair.masks[0] for pair in self._all_pairs()]
        for path in paths[::-(-len(paths) // SURVEYED) or 1]:
            with contextlib.suppress(InputError):  # It is reported where the file is checked.
                yield read_mask(path)

    def _void(self, classes: Sequence[str]) -> int:
        stated = self._stated('ignore_index')
        return 255 if stated is None else stated


class _Masked(Listing):
    """Leaves out the images without mask, and counts them."""

    def split(self, split: str) -> Listed:
        """See `Listing.split`."""
        listed = super().split(split)
        left_out = len(self._images_of(split)) - len(listed.pairs)
        return listed._replace(skipped=listed.skipped + Counter({'images without mask': left_out}))

    def _unpaired(self, split: str, stems: list[str], images: dict, masks: dict) -> list[str]:
        there = [name for name in stems if name in masks or name not in images]
        return super()._unpaired(split, there, images, masks)

    def _why_empty(self, split: str, images: Mapping) -> str:
        if self._images_of(split):
            return 'none of its images has a mask; add masks'
        return super()._why_empty(split, images)
