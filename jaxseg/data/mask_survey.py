"""What masks store, found by reading them: which values or colors are classes, and which is void.

Used where nobody has stated it (`jaxseg plan`). Training never guesses: `jaxseg.data.labels`.
"""

import collections
import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.class_names import Names
from jaxseg.data.masks import read_mask
from jaxseg.errors import InputError

VOID = 255
# More colors than this are blends of anti-aliased edges, or objects rather than classes.
MOST_COLORS = 64
# The border of objects in PASCAL VOC, as a color.
VOC_BORDER = (224, 224, 192)
# More indices than this between used ones are no list of classes.
MOST_GAPS = 64
VOID_NAMES = {'void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', 'dontcare', "don't care"}


class Finding(NamedTuple):
    """A value of a config, and why it was chosen."""

    value: Any
    reason: str


Findings = dict[str, Finding]


@dataclasses.dataclass(frozen=True)
class Survey:
    """Values of masks: integers, or colors (red, green, blue).

    Attributes:
      pixels: how many pixels have each value, in all masks.
      values_of: the values in every file.
      colors: the values are colors.
    """

    pixels: Mapping[Any, int]
    values_of: Mapping[pathlib.Path, frozenset]
    colors: bool

    @property
    def values(self) -> list:
        """All values, in order."""
        return sorted(self.pixels)


def survey_masks(files: Sequence[pathlib.Path]) -> Survey:
    """Reads masks; files that cannot be read are left out, as they are reported elsewhere.

    Raises:
      InputError: no file can be read (the reason of the first).
    """
    problems, found = [], {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for path, (counts, problem) in zip(files, pool.map(_count, files), strict=True):
            if problem:
                problems.append(problem)
            else:
                found[path] = counts
    if not found:
        raise InputError(problems[0])
    colors = any(isinstance(value, tuple) for counts in found.values() for value in counts)
    total: collections.Counter = collections.Counter()
    for path, counts in found.items():
        if colors:  # Grey files among them show grey.
            counts = {value if isinstance(value, tuple) else (value,) * 3: count
                      for value, count in counts.items()}
            found[path] = counts
        total.update(counts)
    return Survey(dict(total), {path: frozenset(counts) for path, counts in found.items()}, colors)


def _count(path: pathlib.Path) -> tuple[dict[Any, int], str]:
    """Pixels of each value of a mask, or the problem with it."""
    try:
        values = read_mask(path).values
    except InputError as error:
        return {}, str(error)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]  # indices saved as RGB
    if values.ndim == 2:
        found, counts = np.unique(values, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True)), ''
    codes = values.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    found, counts = np.unique(codes, return_counts=True)
    colors = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
    return dict(zip(colors, counts.tolist(), strict=True)), ''


def name_classes(survey: Survey, names: Names | None) -> Findings:
    """`classes`, and where they are needed `colors`, `ignore_index` and `labels` of a data set.

    Raises:
      InputError: every pixel has one value, or there are too many colors.
    """
    if len(survey.pixels) < 2:
        raise InputError(f'masks: all pixels of {len(survey.values_of)} masks have the value '
                         f'{survey.values[0]}; there is nothing to learn, give masks of classes')
    return _by_color(survey, names) if survey.colors else _by_index(survey, names)


def _by_color(survey: Survey, names: Names | None) -> Findings:
    void = VOC_BORDER if VOC_BORDER in survey.pixels else None
    colors = [color for color in survey.values if color != void]
    if names and names.colors and set(colors) <= set(names.colors):
        rows = dict(zip(names.classes, names.colors, strict=True))
        reason = f'names and colors of {names.file.name}'
        stated = next((name for name in rows if name.lower() in VOID_NAMES), None)
        void = rows.pop(stated) if stated else void
    elif len(colors) > MOST_COLORS:
        raise InputError(
            f'masks: {len(colors)} colors, more than {MOST_COLORS}: edges are anti-aliased, or '
            f'every object has a color of its own; save masks with one color a class')
    else:
        rows = {_generic(index, sum(color) == 0): color for index, color in enumerate(colors)}
        reason = (f'the {len(colors)} colors of the masks; no file names them: change the names '
                  f'here, in this order')
    found = {'classes': Finding(list(rows), reason),
             'colors': Finding([list(color) for color in rows.values()],
                               'masks store these colors')}
    if void:
        found['labels'] = Finding({'ignore_color': list(void)}, 'the color of pixels without label')
    return found


def _by_index(survey: Survey, names: Names | None) -> Findings:
    values = survey.values
    void = _void(values, names)
    used = [value for value in values if value != void]
    if names:
        found = _with_names(used, names)
        if found is not None:
            return {**_void_finding(void, values), **found}
    unnamed = ('no file names the classes: change the names here, in this order'
               if not names else f'{names.file.name} names {len(names.classes)} classes, which do '
                                 f'not fit the {len(used)} values of the masks')
    if len(used) == 2:
        found = {'classes': Finding(['background', 'foreground'], f'two values; {unnamed}')}
        if used == [0, VOID]:
            found['labels'] = Finding({'binary': True}, 'masks store 0 and 255')
        elif used != [0, 1]:
            found['labels'] = _ranks(used)
    elif used[-1] < MOST_GAPS and 2 * len(used) > used[-1] and used[0] == 0:
        found = {'classes': Finding(
            [_generic(index, index == 0) for index in range(used[-1] + 1)],
            f'indices 0 to {used[-1]}; {unnamed}')}
    else:
        found = {'classes': Finding([_generic(value, value == 0) for value in used],
                                    f'the {len(used)} values of the masks; {unnamed}'),
                 'labels': _ranks(used)}
    return {**found, **_void_finding(void, values)}


def _void(values: Sequence[int], names: Names | None) -> int | None:
    """255 where the other values are indices of two classes at least."""
    rest = [value for value in values if value != VOID]
    count = len(names.classes) if names else 0
    if VOID not in values or len(rest) < 2 and count < 2:
        return None
    indices = rest[-1] < max(MOST_GAPS, count) and (2 * len(rest) > rest[-1] or count > rest[-1])
    return VOID if indices else None


def _void_finding(void: int | None, values: Sequence[int]) -> Findings:
    if void is None:
        return {}
    return {'ignore_index': Finding(void, f'{void} stands apart from {values[0]} to '
                                          f'{values[-2]}: pixels without label')}


def _with_names(used: Sequence[int], names: Names) -> Findings | None:
    """The findings if a list of names fits the values."""
    classes, reason = list(names.classes), f'names of {names.file.name}'
    if used[-1] < len(classes) and classes[0].lower() in VOID_NAMES:
        return {'classes': Finding(classes[1:], f'{reason}, without {classes[0]}'),
                'labels': Finding({'reduce_zero_label': True}, f'0 is {classes[0]!r}')}
    if used[-1] < len(classes) and classes[-1].lower() in VOID_NAMES:
        return {'classes': Finding(classes[:-1], f'{reason}, without {classes[-1]}'),
                'ignore_index': Finding(len(classes) - 1, f'the index of {classes[-1]!r}')}
    if used[-1] < len(classes):
        return {'classes': Finding(classes, reason)}
    if used[-1] == len(classes) and used[0] == 0 and 'background' not in classes:
        return {'classes': Finding(['background', *classes],
                                   f'{reason}, which leaves out the background: value 0')}
    if len(used) == len(classes):
        labels = ({'binary': True} if used == [0, VOID] else None)
        return {'classes': Finding(classes, reason),
                'labels': Finding(labels, 'masks store 0 and 255') if labels else _ranks(used)}
    return None


def _ranks(used: Sequence[int]) -> Finding:
    # Names as in JSON, into which a run's config is written.
    return Finding({'label_map': {str(value): index for index, value in enumerate(used)}},
                   'masks store these values: the classes in their order')


def _generic(number: int, background: bool) -> str:
    return 'background' if background else f'class_{number}'
