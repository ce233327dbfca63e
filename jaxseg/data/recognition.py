"""What a folder of images and masks is: its layout, from the names of its folders and files."""

import collections
import pathlib
import re
import types
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxseg.data.listing import list_folders, list_images
from jaxseg.data.pairs import Listing
from jaxseg.data.splits import split_order, standard_names
from jaxseg.errors import InputError

# Words in the names of folders, the more telling first. A folder of masks may be `image_masks`.
MASK_WORDS = ('mask', 'segmentationclass', 'label', 'annot', 'ground', 'truth', 'target', 'gt',
              'seg', 'anno')
IMAGE_WORDS = ('image', 'img', 'photo', 'picture', 'frame', 'input', 'tile', 'rgb', 'raw', 'data')
# What ends the name of a mask beside its image.
ENDING = re.compile(rf'[_\-. ](?:{"|".join(MASK_WORDS)})s?$', re.IGNORECASE)
TRIED = 200  # images whose stems are compared with those of all masks
NOTHING: Mapping[str, str] = types.MappingProxyType({})


class Layout(NamedTuple):
    """Where images and masks of a `folder.Folder` lie.

    Attributes:
      root: the folder, possibly the only one inside the given one.
      splits: those that it states itself, by folders or lists; () where there are none.
      naming: what `Folder.naming` needs.
      places: of each split, or of all together, the folders of images and of masks.
      classes: with overlapping masks, the names of the folders of classes.
    """

    root: pathlib.Path
    splits: tuple[str, ...]
    naming: dict[str, str]
    places: tuple[tuple[pathlib.Path, pathlib.Path], ...]
    classes: tuple[str, ...]

    @property
    def images(self) -> list[pathlib.Path]:
        """All image files."""
        suffix = self.naming.get('mask_suffix', '')
        return [path for images, masks in self.places for path in list_images(images)[0]
                if images != masks or not path.stem.endswith(suffix)]

    @property
    def masks(self) -> list[pathlib.Path]:
        """All mask files, with overlapping masks those of all classes."""
        suffix, found = self.naming.get('mask_suffix', ''), []
        for _, place in self.places:
            for folder in [place / name for name in self.classes] or [place]:
                found += list_images(folder)[0] if folder.is_dir() else []
        return [path for path in found if path.stem.endswith(suffix)]

    def stem(self, mask: pathlib.Path) -> str:
        """The stem by which a mask is paired."""
        return mask.stem.removesuffix(self.naming.get('mask_suffix', ''))


def find_layout(root: pathlib.Path, stated: Mapping[str, str]) -> Layout:
    """The layout of a folder; `stated` are the keys of `Folder.naming` that are known.

    Raises:
      InputError: there are no folders of images and of masks in it.
    """
    splits, places = (), ()
    names = _names_in(root, stated)
    if names:
        images, masks = root / names[0], root / names[1]
        shared = set(list_folders(images)) & set(list_folders(masks))
        if shared and not list_images(images)[0]:
            splits = tuple(sorted(shared, key=split_order))
            places = tuple((images / split, masks / split) for split in splits)
        else:
            places = ((images, masks),)
    else:
        found = {name: _names_in(root / name, stated) for name in list_folders(root)}
        splits = tuple(sorted((name for name in found if found[name]), key=split_order))
        if 'train' in standard_names(splits):
            names = found[splits[0]]
            splits = tuple(name for name in splits if found[name] == names)
            places = tuple((root / split / names[0], root / split / names[1]) for split in splits)
    if not places:
        inner = list_folders(root)
        if len(inner) == 1:  # what unpacking an archive leaves
            return find_layout(root / inner[0], stated)
        named = f' (data.naming states {dict(stated)})' if stated else ''
        raise InputError(f'data.root: {root} holds no folders of images and of masks that are '
                         f'recognised{named}, and no annotations in JSON; arrange it as images/ '
                         f'and masks/, or as train/, val/ and test/ with these in each')
    return _complete(root, splits, names, places, stated)


def two_folders(place: pathlib.Path, stated: Mapping[str, str] = NOTHING
                ) -> tuple[str, str] | None:
    """The names of the folders of images and of masks in a folder, if it has both.

    `stated` may name one of them, or both.
    """
    names = list_folders(place)
    masks = stated.get('masks') or _best(
        [name for name in names if name != stated.get('images')], MASK_WORDS)
    images = stated.get('images') or _best(
        [name for name in names if name != masks
         and not any(word in name.lower() for word in MASK_WORDS[:3])], IMAGE_WORDS)
    found = images, masks
    return found if all(found) and all((place / name).is_dir() for name in found) else None


def _names_in(place: pathlib.Path, stated: Mapping[str, str]) -> tuple[str, str] | None:
    """As `two_folders`; '.' for both where the images and their masks are in one folder."""
    found = two_folders(place, stated)
    if {'images', 'masks'} & stated.keys():
        return found
    if found is None and _mask_ending([path.stem for path in list_images(place)[0]]):
        found = '.', '.'
    return found


def _mask_ending(stems: Sequence[str]) -> str:
    """The end of the names of masks where a.jpg and a_mask.png lie side by side, or ''."""
    known, ends = set(stems), collections.Counter()
    for stem in stems:
        end = ENDING.search(stem)
        if end and stem[:end.start()] in known:
            ends[end.group()] += 1
    end, count = ends.most_common(1)[0] if ends else ('', 0)
    return end if count > len(stems) / 3 else ''


def _best(names: Sequence[str], words: Sequence[str]) -> str | None:
    """The first name that is, or holds, the first of the words."""
    exact = [name for word in words for name in names if name.lower() in (word, f'{word}s')]
    holding = [name for word in words for name in names if word in name.lower()]
    return next(iter(exact + holding), None)


def _complete(root: pathlib.Path, splits: tuple[str, ...], names: tuple[str, str],
              places: tuple[tuple[pathlib.Path, pathlib.Path], ...], stated: Mapping[str, str]
              ) -> Layout:
    """The layout with the folders of classes and the suffixes of stems."""
    naming = {key: name for key, name in zip(('images', 'masks'), names, strict=True)
              if name != key}
    image_place, mask_place = places[0]
    files = list_images(mask_place)[0]
    classes = () if files else tuple(list_folders(mask_place))
    if classes:
        files = list_images(mask_place / classes[0])[0]
    images = [path.stem for path in list_images(image_place)[0]]
    if not images or not files:
        raise InputError(f'data.root: {image_place if not images else mask_place} holds no image '
                         f'files; add them, or remove the folder')
    if image_place == mask_place:
        naming |= {'mask_suffix': _mask_ending(images)}
    else:
        naming |= _suffixes(images, [path.stem for path in files])
    naming |= stated
    if not splits:
        names = {key: name for key, name in naming.items() if key != 'group'}
        splits = Listing(root, **names).splits
    return Layout(root, splits, naming, places, classes)


def _suffixes(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """The ends of stems that pairs do not share, for most pairs."""
    ends = collections.Counter()
    for stem in images[:TRIED]:
        ends.update(mask.removeprefix(stem) for mask in masks if mask.startswith(stem))
    common = [_common_end(stems) for stems in (images, masks)]
    best = max(
        ((image, mask) for image in dict.fromkeys(('', common[0]))
         for mask in dict.fromkeys(('', common[1], *(end for end, _ in ends.most_common(3))))),
        key=lambda pair: (len(_without(images, pair[0]) & _without(masks, pair[1])),
                          -len(pair[0]) - len(pair[1])))
    return {key: end for key, end in zip(('image_suffix', 'mask_suffix'), best, strict=True) if end}


def _without(stems: Sequence[str], end: str) -> set[str]:
    return {stem.removesuffix(end) for stem in stems if stem.endswith(end)}


def _common_end(stems: Sequence[str]) -> str:
    """The end that all stems share, from a separator on."""
    shortest = min(stems, key=len)
    length = next((count for count in range(len(shortest), 0, -1)
                   if all(stem.endswith(shortest[-count:]) for stem in stems)), 0)
    found = re.search(r'[_\-. ][A-Za-z_\-. ]+$', shortest[len(shortest) - length:])
    return found.group() if found and len(stems) > 1 else ''
