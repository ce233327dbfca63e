"""Which files of a folder are images, in training and prediction alike, and list files."""

import collections
import os
import pathlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxseg.data.decode import IMAGE_SUFFIXES
from jaxseg.errors import InputError, printable

# Of Synology, macOS, Windows and Linux; names that begin with a dot are hidden in any case.
_SYSTEM = {'@eadir', '#recycle', '__macosx', '$recycle.bin', 'system volume information',
           'thumbs.db', 'desktop.ini', 'lost+found'}


class Files(NamedTuple):
    """Files by stem, two files of one stem as problems, and counts of files left out by kind."""

    by_stem: dict[str, pathlib.Path]
    problems: list[str]
    skipped: collections.Counter


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or made by the operating system."""
    return name.startswith('.') or name.lower() in _SYSTEM


def list_images(folder: pathlib.Path, *, recursive: bool = False
                ) -> tuple[list[pathlib.Path], collections.Counter]:
    """The image files of a folder in order, and the counts of other files by kind.

    An image is a file with a suffix of `decode.IMAGE_SUFFIXES` in upper or lower case that is not
    hidden. Links are followed. `recursive` lists subfolders, too.

    Raises:
      InputError: the folder cannot be listed.
    """
    files, skipped, waiting, seen = [], collections.Counter(), [folder], set()
    while waiting:
        current = waiting.pop()
        # A link to a folder above would otherwise never end.
        place = current.resolve()
        if place in seen:
            continue
        seen.add(place)
        for entry in _entries(current):
            kind = _kind(entry)
            if kind == 'image':
                files.append(current / entry.name)
            elif kind == 'folder' and recursive:
                waiting.append(current / entry.name)
            else:
                skipped[kind] += 1
    return sorted(files), skipped


def images_by_stem(folder: pathlib.Path, suffix: str = '', *, nested: bool = True,
                   prefixed: bool | None = None) -> Files:
    """The images of a folder by their stems without `suffix`; those without it are left out.

    Where the folder itself holds no image, its subfolders are listed if they may be `nested`, at
    any depth; for `prefixed` see `by_stem`.

    Raises:
      InputError: the folder cannot be listed.
    """
    paths, skipped = list_images(folder)
    if not paths and skipped['folder'] and nested:
        paths, skipped = list_images(folder, recursive=True)
    kept = [path for path in paths if path.stem.endswith(suffix)]
    skipped[f'without {suffix}'] += len(paths) - len(kept)
    return by_stem(kept, skipped, suffix, folder, prefixed)


def by_stem(paths: Sequence[pathlib.Path], skipped: collections.Counter, suffix: str = '',
            folder: pathlib.Path | None = None, prefixed: bool | None = None) -> Files:
    """Files by their stems without `suffix`; of two with one stem the last.

    With `prefixed` all stems begin with the names of the subfolders of `folder`, `video1_0001`; by
    default they do where several subfolders have one stem, as frames of several videos.
    """
    files: dict[str, pathlib.Path] = {}
    problems = []
    stems = [path.stem.removesuffix(suffix) for path in paths]
    places = {(stem, path.parent) for stem, path in zip(stems, paths, strict=True)}
    if prefixed is None:
        prefixed = folder is not None and len(places) > len(set(stems))
    if prefixed:
        stems = ['_'.join((*path.parent.relative_to(folder).parts, stem))
                 for stem, path in zip(stems, paths, strict=True)]
    for stem, path in zip(stems, paths, strict=True):
        if stem in files:
            first = files[stem]
            beside = first.parent == path.parent
            problems.append(f'{path}: {first.name if beside else first} has the same stem; '
                            f'{"keep" if beside else "rename"} one of them')
        files[stem] = path
    return Files(files, problems, skipped)


def check_folder_name(name: str, key: str, root: pathlib.Path):
    """Raises InputError, naming `key`, unless `name` may be a folder inside of `root`, or '.'."""
    path = pathlib.PurePath(name)
    if name != '.' and not path.parts or path.is_absolute() or '..' in path.parts:
        raise InputError(f'{key}: {name!r} is no folder inside {root}; give its name, such as '
                         f'{key.rpartition(".")[2]!r}')


def list_folders(folder: pathlib.Path) -> list[str]:
    """The names of the subfolders in order, without those of `is_system`; () without a folder."""
    entries = _entries(folder) if folder.is_dir() else []
    return [entry.name for entry in entries if _kind(entry) == 'folder']


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """What was left out as text, empty if nothing was: `3 left out: 2 .txt, 1 hidden`."""
    counts = sorted(((count, kind) for kind, count in skipped.items() if count),
                    key=lambda each: (-each[0], each[1]))
    shown = ', '.join(f'{count} {printable(kind)}' for count, kind in counts)
    return f'{sum(skipped.values())} left out: {shown}' if counts else ''


def read_list(path: pathlib.Path) -> list[str]:
    """The lines of a list file that are not empty.

    Raises:
      InputError: the file is not UTF-8 text.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read as UTF-8 text ({error}); save the list as '
                         f'UTF-8') from None
    # Not splitlines(): it also splits at characters that names may hold.
    return [line.strip() for line in text.split('\n') if line.strip()]


def resolve_entry(line: str, stems: Collection[str], suffixes: Sequence[str]) -> str:
    """The stem that a line of a list means, without file suffix and one of `suffixes`.

    It is without the folders, or else begins with them as in `by_stem`.
    """
    if line in stems:
        return line
    *folders, name = pathlib.PureWindowsPath(line).parts or ('',)  # understands both / and \
    path = pathlib.PurePath(name)
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name
    candidates = [name, stem, *(stem.removesuffix(suffix) for suffix in suffixes)]
    candidates += ['_'.join((*folders[first:], candidate)) for first in range(len(folders))
                   for candidate in candidates]
    return next((candidate for candidate in candidates if candidate in stems), stem)


def explain_near_misses(names: Collection[str], others: Collection[str]) -> str:
    """Names that differ in case or Unicode form alone, as text for a message; else empty."""
    forms = {_plain(name): name for name in others}
    near = [name for name in names if _plain(name) in forms and forms[_plain(name)] != name]
    if not near:
        return ''
    name, other = near[0], forms[_plain(near[0])]
    unicode = unicodedata.normalize('NFC', name) == unicodedata.normalize('NFC', other)
    why = 'Unicode form (NFC and NFD, as macOS writes it)' if unicode else 'upper and lower case'
    return (f'; {len(near)} of them, such as {name!a} and {other!a}, differ only in {why}: rename '
            f'one of each')


def describe_names(root: pathlib.Path, names: Sequence[str], what: str, where: pathlib.Path,
                   others: Iterable[str], remedy: str) -> list[str]:
    """One message for all `names`, none without them; `others` may hold similar names."""
    if not names:
        return []
    shown = ', '.join(names[:5]) + (', ...' if names[5:] else '')
    near = explain_near_misses(names, list(others)) if others else ''
    return [f'{root}: {len(names)} {what} in {where}: {shown}{near}; {remedy}']


def _plain(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()


def _entries(folder: pathlib.Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f'{folder}: cannot be listed ({error.strerror}); give a folder that can '
                         f'be read') from None


def _kind(entry: os.DirEntry) -> str:
    """`image`, `folder`, or the kind under which an entry is counted as left out."""
    if is_system(entry.name):
        return 'hidden or system'
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # a link to itself, or to a place that may not be read
        return 'broken link'
    if is_folder:
        return 'folder'
    if not is_file:
        return 'broken link' if entry.is_symlink() else 'special file'
    suffix = pathlib.PurePath(entry.name).suffix.lower()
    return 'image' if suffix in IMAGE_SUFFIXES else suffix or 'without suffix'
