"""A folder of images and masks."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from jaxseg.data.file_dataset import FileDataset, check_names
from jaxseg.data.labels import OPTIONS, Labels
from jaxseg.data.mask_reader import MaskFiles
from jaxseg.data.masks import RawMask, read_mask
from jaxseg.data.pairs import Listing
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
      missing_masks: with overlapping masks, 'absent' states that no file for a class means that it
        does not occur in the image; 'refuse' calls it a problem.
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
    missing_masks: Literal['refuse', 'absent'] = 'refuse'
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    naming_keys = frozenset({'images', 'masks', 'image_suffix', 'mask_suffix', 'lists', 'group'})
    holds = 'images/ and masks/, or train/, val/ and test/ with these in each'

    def __post_init__(self):
        super().__post_init__()
        if self.missing_masks != 'refuse' and not self.overlapping:
            raise InputError(f'data.missing_masks: {self.missing_masks!r} has no effect without '
                             f'overlapping masks; remove it, or set data.overlapping=true')

    @functools.cached_property
    def _listing(self) -> Listing:
        return Listing(self._root, **self._names, fractions=self.splits, seed=self.split_seed,
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
