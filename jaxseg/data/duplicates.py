"""Equal images in two splits."""

import collections
import concurrent.futures
import hashlib
import pathlib
from collections.abc import Hashable, Mapping, Sequence

# Bytes in the middle of a file that are compared before all of it is read.
PIECE = 2 ** 14

Duplicate = tuple[str, str, str, str]


def find_equal(keys: Mapping[str, Sequence[tuple[str, Hashable]]]) -> list[Duplicate]:
    """(split, name, split, name) of samples whose key is that of one in an earlier split.

    Args:
      keys: of every split, names and keys of its samples.
    """
    seen: dict[Hashable, tuple[str, str]] = {}
    pairs = []
    for split, samples in keys.items():
        pairs += [(*seen[key], split, name) for name, key in samples if key in seen]
        seen = {key: (split, name) for name, key in samples} | seen
    return pairs


def find_equal_files(files: Mapping[str, Sequence[tuple[str, pathlib.Path]]]) -> list[Duplicate]:
    """As `find_equal`, of files with the same bytes; files that cannot be read are left out.

    Files are told apart by their sizes, then by a piece, so that few are read as a whole.

    Args:
      files: of every split, names and files of its samples.
    """
    candidates = [((split, name), path, ()) for split, samples in files.items()
                  for name, path in samples]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for measure in (_size, _piece, _digest):
            measured = pool.map(measure, [path for _, path, _ in candidates])
            candidates = [(place, path, (*key, value)) for (place, path, key), value
                          in zip(candidates, measured, strict=True) if value is not None]
            splits = collections.defaultdict(set)
            for (split, _), _, key in candidates:
                splits[key].add(split)
            candidates = [found for found in candidates if len(splits[found[2]]) > 1]
    keys = {split: [] for split in files}
    for (split, name), _, key in candidates:
        keys[split].append((name, key))
    return find_equal(keys)


def _size(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # Reported where the file is used, as in the next two functions.
        return None


def _piece(path: pathlib.Path) -> bytes | None:
    try:
        with path.open('rb') as file:
            file.seek(max(path.stat().st_size - PIECE, 0) // 2)
            return hashlib.sha256(file.read(PIECE)).digest()
    except OSError:
        return None


def _digest(path: pathlib.Path) -> bytes | None:
    try:
        with path.open('rb') as file:
            return hashlib.file_digest(file, 'sha256').digest()
    except OSError:
        return None
