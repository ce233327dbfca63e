"""Names and colors of classes in the text files that data sets come with."""

import pathlib
import re
from typing import NamedTuple

from jaxseg.data.listing import read_list
from jaxseg.errors import InputError

FILES = ('classes.txt', 'class_names.txt', 'classnames.txt', 'class_dict.csv', 'labels.txt',
         'labelmap.txt', 'label_names.txt', 'label_colors.txt', 'names.txt', 'codes.txt',
         '_classes.csv')
# Words of a first line that names the columns.
HEADER = {'', 'name', 'names', 'r', 'g', 'b', 'red', 'green', 'blue', 'class', 'classes', 'index',
          'id', 'pixel', 'value', 'label', 'label_name', 'color', 'color_rgb', 'parts', 'actions'}


class Names(NamedTuple):
    """Names in the order of their indices, and a color for each where the file states them."""

    file: pathlib.Path
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...] | None


def find_names(root: pathlib.Path) -> Names | None:
    """What the first of `FILES` in a folder states, None where there is none that can be read.

    A line is a name, alone or with an index before it (`3 road`, `3: road`), or a name with three
    numbers of a color, on either side of it: `road,128,64,128`, `128 64 128 road`, and CVAT's
    `road:128,64,128::`.
    """
    by_name = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_file()}
    for name in FILES:
        if name in by_name:
            try:
                return _read(by_name[name])
            except InputError:  # Another kind of file under this name is no list of classes.
                continue
    return None


def _read(path: pathlib.Path) -> Names | None:
    lines = [line for line in read_list(path) if not line.startswith('#')]
    # labelme2voc lists __ignore__, which has no index.
    rows = [row for row in map(_row, lines)
            if not set(row[0].lower().split()) <= HEADER and row[0] != '__ignore__']
    names = tuple(name for name, _ in rows)
    if not names or len(set(names)) < len(names):
        raise InputError(f'{path}: names no classes, or one twice')
    colors = tuple(color for _, color in rows if color)
    distinct = len(set(colors)) == len(names)
    return Names(path, names, colors if distinct else None)


def _row(line: str) -> tuple[str, tuple[int, int, int] | None]:
    """A name and its color, if the line has one."""
    words = [word for word in re.split(r'[\s,;:]+', line) if word]
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal()]
    name = ' '.join(word for word in words if not (word.isascii() and word.isdecimal()))
    color = tuple(numbers[-3:]) if len(numbers) >= 3 and max(numbers[-3:]) < 256 else None
    return name, color
