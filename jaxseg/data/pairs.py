"""Which image belongs to which mask, and to which split."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data.decode import IMAGE_SUFFIXES
from jaxseg.errors import InputError


class Pair(NamedTuple):
    """An image file, its mask file and the stem that they share."""

    image: pathlib.Path
    mask: pathlib.Path
    name: str


def split_names(root: pathlib.Path, images: str, suffix: str, fractions: Mapping[str, float] | None) -> list[str]:
    """The splits that a folder has: by fractions, by subfolders on either level, or by list files.

    A text file is a list if it is called like a split, or names an image (whose stem ends with `suffix`): others are notes.
    """
    if fractions:
        return list(fractions)
    order = {'train': 0, 'val': 1, 'test': 2}
    found = ([path.relative_to(root).parts[0] for path in root.glob(f'*/{images}') if path.is_dir()]
             or [path.name for path in (root / images).glob('*') if path.is_dir() and not path.name.startswith('.')])
    if not found:
        stems = _stems(root / images, suffix)[0].keys() if (root / images).is_dir() else set()
        found = [path.stem for path in root.glob('*.txt') if path.stem in order or stems & set(_listed(path))]
    return sorted(found, key=lambda name: (order.get(name, 3), name))


def find_pairs(root: pathlib.Path, split: str, *, folders: tuple[str, str], suffixes: tuple[str, str],
               fractions: Mapping[str, float] | None, seed: int) -> tuple[list[Pair], list[str]]:
    """The pairs of a split in the order of their stems, and what is wrong with the listing.

    Raises:
      InputError: an unknown split, or a folder that does not exist.
    """
    known = split_names(root, folders[0], suffixes[0], fractions)
    if split not in known:
        raise InputError(f'{root}: no split {split!r}; known: {", ".join(known) or "none"}; add {root}/{split}/{folders[0]}, '
                         f'{root}/{folders[0]}/{split} or {root}/{split}.txt, in the layout of the other splits, or keep all '
                         f'files in {root}/{folders[0]} and give fractions in data.splits')
    places = [_place(root, split, folder) for folder in folders]
    files, problems = [], []
    for place, suffix in zip(places, suffixes, strict=True):
        listed, doubled = _stems(place, suffix)
        files.append(listed)
        problems += doubled
    images, masks = files
    flat = places[0] == root / folders[0]  # paths, for 'images/' and './images' are the same folder
    chosen = _chosen(root, split, sorted(images.keys() | masks.keys()), fractions, seed, flat=flat)
    missing = [name for name in chosen if name not in images and name not in masks]
    without_mask = [name for name in chosen if name in images and name not in masks]
    without_image = [name for name in chosen if name in masks and name not in images]
    for names, what, where in ((without_mask, 'images have no mask', places[1]),
                               (without_image, 'masks have no image', places[0]),
                               (missing, f'stems of {split}.txt have neither image nor mask', places[0])):
        if names:
            problems.append(f'{root}: {len(names)} {what} in {where}: {", ".join(names[:5])}'
                            f'{", ..." if names[5:] else ""}; add or remove the files (stems must be equal; data.naming '
                            f'sets image_suffix and mask_suffix)')
    pairs = [Pair(images[name], masks[name], name) for name in chosen if name in images and name in masks]
    if not pairs and not problems:
        why = f'no image file in {places[0]}; known types: {", ".join(sorted(IMAGE_SUFFIXES))}'
        if images and fractions:
            why = (f'the share {fractions[split]:g} of {len(images)} images rounds to none; give it more in data.splits, or '
                   f'add images')
        elif images:
            why = f'{split}.txt names no image; write one stem a line'
        problems.append(f'{root}: split {split!r} is empty, {why}')
    return pairs, problems


def _place(root: pathlib.Path, split: str, folder: str) -> pathlib.Path:
    for place in (root / split / folder, root / folder / split, root / folder):
        if place.is_dir():
            return place
    raise InputError(f'{root / split / folder}: no such folder (nor {root / folder / split} or {root / folder}); '
                     f'set data.images and data.masks to the names of the folders')


def _stems(folder: pathlib.Path, suffix: str) -> tuple[dict[str, pathlib.Path], list[str]]:
    """Files by their stem without `suffix`, and stems that two files share."""
    files: dict[str, pathlib.Path] = {}
    doubled = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.stem.endswith(suffix) or path.name.startswith('.'):
            continue
        stem = path.stem.removesuffix(suffix)
        if stem in files:
            doubled.append(f'{path}: {files[stem].name} has the same stem; keep one of them')
        files[stem] = path
    return files, doubled


def _chosen(root: pathlib.Path, split: str, stems: Sequence[str], fractions: Mapping[str, float] | None, seed: int, *,
            flat: bool) -> list[str]:
    if fractions:
        return _fraction(split, stems, fractions, seed)
    if not flat:
        return list(stems)
    return _listed(root / f'{split}.txt')


def _listed(listing: pathlib.Path) -> list[str]:
    """The stems that a list file names, which may be written with the suffixes of their files."""
    lines = [line.strip() for line in listing.read_text(errors='replace').splitlines() if line.strip()]
    return [pathlib.PurePath(line).stem if pathlib.PurePath(line).suffix.lower() in IMAGE_SUFFIXES else line
            for line in lines]


def _fraction(split: str, stems: Sequence[str], fractions: Mapping[str, float], seed: int) -> list[str]:
    """The share of `split` of the stems in a seeded order; shares follow each other, so that they never overlap."""
    total = sum(fractions.values())
    if min(fractions.values()) < 0 or total > 1 + 1e-9:
        raise InputError(f'data.splits: the fractions {dict(fractions)} add up to {total:g}; give shares of at most 1')
    order = np.random.default_rng(seed).permutation(len(stems))
    ends = np.round(np.cumsum([0, *fractions.values()]) * len(stems)).astype(int)
    place = list(fractions).index(split)
    return [stems[index] for index in sorted(order[ends[place]:ends[place + 1]])]
