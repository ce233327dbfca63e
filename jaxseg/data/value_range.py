"""Which pixel values are black and white: decided for a data set, never by a single image."""

import collections
import concurrent.futures
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg.data.decode import read_samples
from jaxseg.data.file_info import FileInfo, file_info
from jaxseg.errors import InputError

# Files that are decoded to measure the range of their values for a message.
MEASURED = 500


def decide_value_range(files: Sequence[pathlib.Path], name: str) -> tuple[float, float]:
    """The range that the number formats of all images imply.

    It is (0, 255) if all are 8-bit, and (0, 65535) if there are 16-bit ones besides. Other formats,
    such as float32 or 12-bit, imply none. Files that cannot be read are left out; they are reported
    where they are checked.

    Args:
      files: all image files of a data set.
      name: what the message calls the data set.

    Raises:
      InputError: no range is implied; the message has the measured one.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        infos = [info for info in pool.map(_info, files) if info is not None]
    depths = collections.Counter('8-bit' if info.eight_bit else info.depth for info in infos)
    if not depths.keys() - {'8-bit'}:
        return 0.0, 255.0
    if not depths.keys() - {'8-bit', '16-bit'}:
        return 0.0, 65535.0
    counts = ', '.join(f'{count} of {depth}' for depth, count in depths.most_common())
    low, high = _measure(files, depths.keys() - {'8-bit', '16-bit'})
    raise InputError(
        f'{name}: images {counts}, whose values of black and white are not known; state them in '
        f'data.value_range (measured: {low:.6g} to {high:.6g}), one pair for the whole data set, '
        f'such as data.value_range=[{low:.6g}, {high:.6g}]')


def _info(path: pathlib.Path) -> FileInfo | None:
    try:
        return file_info(path)
    except InputError:
        return None


def _measure(files: Sequence[pathlib.Path], depths: set[str]) -> tuple[float, float]:
    """The smallest and largest finite value of up to `MEASURED` files of these number formats."""
    found = []
    for path in files:
        info = _info(path)
        if info is not None and info.depth in depths:
            found.append((path, info))
    low, high = np.inf, -np.inf
    for path, info in found[::-(-len(found) // MEASURED) or 1]:
        try:
            samples = read_samples(path, info, str(path), expand=False)
        except InputError:
            continue
        finite = samples[np.isfinite(samples)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high
