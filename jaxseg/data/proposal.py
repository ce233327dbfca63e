"""The entry `data` of a config for a folder that nobody has described, with reasons."""

import concurrent.futures
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.class_names import find_names
from jaxseg.data.decode import read_samples
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.data.folder import Folder
from jaxseg.data.mask_survey import Finding, Findings, Survey, name_classes, survey_masks
from jaxseg.data.recognition import Layout, find_layout
from jaxseg.data.split_choice import Proposal, choose_fold, choose_splits
from jaxseg.data.splits import standard_names
from jaxseg.data.trees import FINDERS, find_tree, split_tree, with_known
from jaxseg.errors import InputError
from jaxseg.fields import check_value
from jaxseg.records import read_json

# Files that are decoded to learn what masks and images store, evenly spaced over all.
SURVEYED = 2000
MEASURED = 64
# Of the pixel values of deep images, so that single bright pixels do not set the range.
PERCENTILES = (0.5, 99.5)


def propose(root: pathlib.Path, stated: Mapping[str, Any]) -> Proposal:
    """The entry of a folder: its type, and the fields that this type needs.

    Args:
      stated: fields that the user states, which are not looked for.

    Raises:
      InputError: nothing is recognised, or what is there cannot be used.
    """
    check_value('data.naming', stated.get('naming', {}), Mapping[str, Any])
    kind, fold = stated.get('type'), {}
    tree = find_tree(root, kind) if kind is None or kind in FINDERS else None
    if tree:
        found = {'type': Finding(tree.kind, tree.reason),
                 'root': Finding(str(tree.root), _plural(len(tree.images), 'image')), **tree.fields}
        infos = [info for info in _each(_info, tree.images) if info]
        if infos:
            found |= _pixels(tree.images, infos)
        if 'splits' not in stated:
            splits, fold = split_tree(tree, {**stated, **_values(_completed(found, stated))})
            found = _with_splits(found, splits)
    elif kind in (None, 'folder.Folder'):
        fields, fold = propose_folder(root, stated)
        found = {'type': Finding('folder.Folder', 'image files and mask files'), **fields}
    else:
        found = {'root': Finding(str(root), 'the folder')}
    return Proposal(_completed(found, stated), fold)


def propose_folder(root: pathlib.Path, given: Mapping[str, Any]) -> Proposal:
    """The fields of a `folder.Folder` that a folder needs, and of a fold around it.

    Args:
      given: fields that the user states, which are not looked for.

    Raises:
      InputError: no folders of images and masks, files that cannot be read, or masks of which no
        list of classes can be made.
    """
    layout = find_layout(root, {key: name for key, name in given.get('naming', {}).items()
                                if key in Folder.naming_keys and isinstance(name, str)})
    path = layout.root / 'dataset.json'
    stated = read_json(path) if path.is_file() else {}
    splits = standard_names(layout.splits)
    # Where splits and classes are known, few masks are read: the fingerprint reads them all.
    known = 'val' in splits and (given.get('classes') or stated.get('classes'))
    survey = survey_masks(_spaced(layout.masks, MEASURED if known else SURVEYED))
    images = layout.images
    found: Findings = {'root': Finding(str(layout.root), _where(layout))}
    if layout.naming:
        found['naming'] = Finding(dict(layout.naming), 'names of folders and ends of file names')
    found |= _classes(layout, survey, stated, given)
    infos = [info for info in _each(_info, images) if info]
    if not infos:
        raise InputError(f'data.root: none of the {len(images)} images in {layout.places[0][0]} '
                         f'can be read; jaxseg inspect tells why')
    found |= {key: finding for key, finding in _pixels(images, infos).items()
              if key not in stated}
    if 'splits' in given:
        return Proposal(found, {})
    if not splits:
        chosen, fold = choose_splits(_contents(layout, survey))
        return Proposal(_with_splits(found, chosen), fold)
    if 'val' in splits or 'train' not in splits:
        return Proposal(found, {})
    dataset = with_known(Folder, {**_values(found), **given, 'naming': layout.naming})
    return Proposal(found, choose_fold(_contents_of_training(dataset, survey)))


def _completed(found: Findings, stated: Mapping[str, Any]) -> Findings:
    """The findings that are not stated; what is stated of the naming is a part of it."""
    left = {key: finding for key, finding in found.items() if key not in stated}
    if 'naming' in found:
        naming = {**found['naming'].value, **stated.get('naming', {})}
        left['naming'] = found['naming']._replace(value=naming)
    return left


def _values(findings: Findings) -> dict[str, Any]:
    return {key: finding.value for key, finding in findings.items()}


def _contents(layout: Layout, survey: Survey) -> dict[str, Any]:
    """The values in the mask of every stem; of masks that were not read, none."""
    contents = {layout.stem(path): values for path, values in survey.values_of.items()}
    contents |= {layout.stem(path): () for path in layout.masks
                 if layout.stem(path) not in contents}
    return dict(sorted(contents.items()))


def _contents_of_training(dataset: Folder, survey: Survey) -> dict[str, Any]:
    """As `_contents`, of the samples of the split 'train'."""
    return {pair.name: set().union(*(survey.values_of.get(mask, ()) for mask in pair.masks))
            for pair in dataset.paired('train').pairs}


def _with_splits(found: Findings, splits: Findings) -> Findings:
    """The findings with those about splits, of which the group is a part of `naming`."""
    group = splits.get('naming.group')
    if group:
        naming = {'group': group.value, **found.get('naming', Finding({}, '')).value}
        found = {**found, 'naming': Finding(naming, group.reason)}
    return {**found, **{key: finding for key, finding in splits.items() if key != 'naming.group'}}


def _where(layout: Layout) -> str:
    places = ', '.join(f'{images.relative_to(layout.root)}/ and {masks.relative_to(layout.root)}/'
                       for images, masks in layout.places)
    return f'{len(layout.images)} images and {len(layout.masks)} masks in {places}'


def _classes(layout: Layout, survey: Survey, stated: dict[str, Any], given: Mapping[str, Any]
             ) -> Findings:
    """What the fields about classes and masks must be, besides what dataset.json states."""
    if layout.classes:
        found = {'overlapping': Finding(True, 'a folder of masks for each class'),
                 'classes': Finding(list(layout.classes), 'names of the folders of masks')}
        counts = {name: len(list((layout.places[0][1] / name).iterdir()))
                  for name in layout.classes}
        if len(set(counts.values())) > 1:
            found['missing_masks'] = Finding('absent', 'some images have no mask of some classes')
        return found
    classes = given.get('classes') or stated.get('classes')
    if classes:
        known = {*given, *stated}
        # Where 255 is stated to be void, only the look at all masks tells that it cannot be.
        values, whole = set(survey.pixels), len(survey.values_of) == len(layout.masks)
        sure = 'ignore_index' not in known or whole and values == {0, 255}
        if values <= {0, 255} and len(classes) == 2 and 'labels' not in known and sure:
            return {'labels': Finding({'binary': True}, 'masks store 0 and 255')}
        return {}
    return name_classes(survey, find_names(layout.root))


def _pixels(images: Sequence[pathlib.Path], infos: Sequence[FileInfo]) -> Findings:
    """`channels` and `value_range`, where they are not those of 8-bit RGB."""
    found: Findings = {}
    bands = max(info.bands for info in infos)
    deep = any(not info.eight_bit for info in infos)
    some = _spaced(images, MEASURED)
    if bands == 3 and all(_each(_is_grey, some)):
        found['channels'] = Finding(1, 'the three channels of the images are equal: they are grey')
    elif bands != 3:
        found['channels'] = Finding(bands, f'the image files have {_plural(bands, "channel")}')
    if deep:
        sampled = [values for values in _each(_some_values, some) if values.size]
        low, high = np.percentile(np.concatenate(sampled), PERCENTILES)
        limits = _rounded(float(low), float(high))
        found['value_range'] = Finding(
            list(limits), f'{100 - PERCENTILES[1]:g} % of the pixel values are below, as many '
                          f'above ({max(info.depth for info in infos)} images)')
    return found


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Two digits of the limits, outwards; a range that is never empty."""
    if high <= low:
        high = low + 1
    step = 10.0 ** np.floor(np.log10(high - low)) / 10
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    digits = max(0, int(-np.floor(np.log10(step))))
    return round(float(low), digits), round(float(high), digits)


def _plural(count: int, noun: str) -> str:
    return f'{count} {noun}' + ('' if count == 1 else 's')


def _info(path: pathlib.Path) -> FileInfo | None:
    try:
        return file_info(path)
    except InputError:  # Reported where the file is used.
        return None


def _samples(path: pathlib.Path) -> np.ndarray:
    try:
        return read_samples(path, file_info(path), str(path), expand=True)
    except InputError:
        return np.zeros((0, 0, 1), np.uint8)


def _is_grey(path: pathlib.Path) -> bool:
    """Whether the color channels are equal; an alpha channel does not count."""
    pixels = _samples(path)[..., :3]
    return bool((pixels == pixels[..., :1]).all())


def _some_values(path: pathlib.Path) -> np.ndarray:
    """Every 7th value of an image that is finite."""
    values = _samples(path).ravel()[::7]
    return values[np.isfinite(values)]


def _each(function: Any, paths: Sequence[pathlib.Path]) -> list:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, paths))


def _spaced(paths: Sequence[pathlib.Path], count: int) -> list[pathlib.Path]:
    """At most so many of the paths, evenly spaced."""
    return list(paths[::-(-len(paths) // count) or 1])
