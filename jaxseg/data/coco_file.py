"""COCO's JSON files of objects: images, categories, and a segmentation of each object."""

import collections
import pathlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.drawn_masks import Drawing, Shape
from jaxseg.data.shapes import LARGEST, Figure, Polygons, RunLengths, decode_counts, has_area
from jaxseg.errors import InputError
from jaxseg.records import read_json


class CocoImage(NamedTuple):
    """An image as the file names it, with folders, and the name of its sample, without."""

    file_name: str
    name: str
    drawing: Drawing


class CocoFile(NamedTuple):
    """What a file holds.

    Attributes:
      images: in the order of the file.
      categories: their names in the order of their ids.
      problems: all that is wrong with it.
      skipped: counts of what is left out, by kind.
    """

    images: tuple[CocoImage, ...]
    categories: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: collections.Counter


class _Faults:
    """Faults by what is wrong, each with all the entries that have it."""

    def __init__(self, path: pathlib.Path):
        self._path, self._found = path, collections.defaultdict(list)

    def add(self, what: str, entry: Any):
        self._found[what].append(entry)

    def messages(self) -> list[str]:
        """One message for each kind of fault; `what` names the fault and the remedy."""
        shown = []
        for what, entries in self._found.items():
            fault, _, remedy = what.partition('; ')
            names = ', '.join(map(str, entries[:5])) + (', ...' if entries[5:] else '')
            shown.append(f'{self._path}: {len(entries)} {fault}: {names}; {remedy}')
        return shown


def read_coco(path: pathlib.Path) -> CocoFile:
    """Parses a file. Shapes are stored as arrays, and are drawn when a sample is read.

    Crowds become void shapes. Outlines of fewer than three points or without area are left out and
    counted. An image without annotations shows no object. Several ids may have one category name.

    Raises:
      InputError: it is no JSON, or not of this format.
    """
    document, faults, skipped = read_json(path), _Faults(path), collections.Counter()
    lacking = [key for key in ('images', 'annotations', 'categories')
               if not isinstance(document.get(key), list)]
    if lacking:
        raise InputError(f'{path}: holds no list {lacking[0]!r}; give a COCO file of objects, with '
                         f'images, annotations and categories')
    categories = _categories(document['categories'], faults)
    images = _images(document['images'], faults)
    shapes = collections.defaultdict(list)
    for index, entry in enumerate(document['annotations']):
        shape = _shape(entry, index, images, categories, faults, skipped)
        if shape is not None:
            shapes[entry['image_id']].append(shape)
    found = tuple(CocoImage(file_name, _name(file_name), Drawing(tuple(shapes[key]), size))
                  for key, (file_name, size) in images.items())
    for what, names in (('file names', [image.file_name for image in found]),
                        ('names without suffix', [image.name for image in found])):
        for name in _repeated(names):
            faults.add(f'{what} are used twice; keep one image of each', name)
    ordered = [categories[key] for key in sorted(categories, key=lambda key: (str(type(key)), key))]
    return CocoFile(found, tuple(dict.fromkeys(ordered)), tuple(faults.messages()), skipped)


def _name(file_name: str) -> str:
    """The file name without suffix; folders become part of it, for samples to differ."""
    return '_'.join(pathlib.PurePosixPath(file_name).with_suffix('').parts)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in collections.Counter(names).items() if count > 1]


def _categories(entries: list, faults: _Faults) -> dict[Hashable, str]:
    names = {}
    for index, entry in enumerate(entries):
        key, name = _get(entry, 'id'), _get(entry, 'name')
        if not _is_key(key) or not isinstance(name, str) or not name:
            faults.add('categories have no id or no name; correct them', f'number {index}')
        elif key in names:
            faults.add('category ids are used twice; give each one of its own', key)
        else:
            names[key] = name
    return names


def _images(entries: list, faults: _Faults) -> dict[Hashable, tuple[str, tuple[int, int] | None]]:
    """File name and (height, width), None where not stated, of every image id.

    Of an absolute file name, which is that of another machine, the folders are dropped.
    """
    images = {}
    for index, entry in enumerate(entries):
        key, file_name = _get(entry, 'id'), _get(entry, 'file_name')
        size = _get(entry, 'height'), _get(entry, 'width')
        parts = file_name.replace('\\', '/').split('/') if isinstance(file_name, str) else ['..']
        if not _is_key(key) or not isinstance(file_name, str) or not parts[-1]:
            faults.add('images have no id or no file_name; correct them', f'number {index}')
        elif key in images:
            faults.add('image ids are used twice; give each image one of its own', key)
        elif '..' in parts or '\0' in file_name:
            faults.add('file names lead out of the folder; remove their folders', file_name)
        elif size != (None, None) and not all(_is_size(value) for value in size):
            faults.add('images have a height or width that is no number of pixels; correct them',
                       file_name)
        else:
            absolute = bool(pathlib.PureWindowsPath(file_name).anchor)
            images[key] = (parts[-1] if absolute else '/'.join(parts),
                           None if size == (None, None) else size)
    return images


def _shape(entry: Any, index: int, images: Mapping, categories: Mapping, faults: _Faults,
           skipped: collections.Counter) -> Shape | None:
    """The shape of an annotation, None where it has a fault or no area."""
    which, image, category = (_get(entry, key) for key in ('id', 'image_id', 'category_id'))
    which = f'number {index}' if which is None else f'id {which}'
    if not _is_key(image) or image not in images:
        faults.add('annotations have an image_id that no image has; correct or remove them', which)
        return None
    if not _is_key(category) or category not in categories:
        faults.add('annotations have an unknown category_id; add the category or correct them',
                   f'{which} ({category})')
        return None
    try:
        figure = _figure(_get(entry, 'segmentation'))
        size = images[image][1]
        if isinstance(figure, RunLengths) and size and figure.size != size:
            raise InputError('run lengths of another size than the image')
    except (InputError, ValueError, TypeError, OverflowError) as error:
        reason = str(error) if isinstance(error, InputError) else 'no list of coordinates'
        faults.add(f'annotations have a segmentation that cannot be used ({reason}); correct or '
                   f'remove them', which)
        return None
    if figure is None:
        skipped['shapes without area'] += 1
        return None
    return Shape(categories[category], figure, void=bool(_get(entry, 'iscrowd')))


def _figure(value: Any) -> Figure | None:
    """Outlines or run lengths; None if they have no area."""
    if isinstance(value, dict):
        counts, size = value.get('counts'), value.get('size')
        if (not isinstance(size, list) or len(size) != 2
                or not all(_is_size(each) for each in size)):
            raise InputError('its size is no [height, width]')
        if not isinstance(counts, str):
            counts = np.array(counts)
            if counts.dtype.kind != 'i' or counts.ndim != 1:
                raise InputError('counts are neither a text nor integers')
        else:
            counts = decode_counts(counts)
        lengths = RunLengths(counts, tuple(size))
        return lengths if counts[1::2].any() else None
    if not isinstance(value, list) or not value:
        raise InputError('there is none, a bounding box alone states no pixels')
    parts = [part for part in map(outline, value) if part is not None]
    return Polygons(tuple(parts)) if parts else None


def outline(numbers: Any) -> np.ndarray | None:
    """Points (N, 2) of x and y in turn, None where they have no area.

    Raises:
      InputError, ValueError, TypeError: they are no such numbers.
    """
    if not isinstance(numbers, list):
        raise InputError('no list of lists')
    values = np.array(numbers, np.float32)
    if values.ndim != 1 or len(values) % 2 or not (np.abs(values) <= LARGEST).all():
        raise InputError('coordinates are not pairs of finite numbers')
    points = values.reshape(-1, 2)
    return points if len(points) > 2 and has_area(points) else None


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_key(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST
