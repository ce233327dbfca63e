"""Files of tensors with metadata, which `jaxseg.pretrained.tensors` reads."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np

from jaxseg.errors import InputError
from jaxseg.files import replacing
from jaxseg.pretrained.tensors import METADATA, Tensors, checkpoint_files

SUFFIXES = ('.safetensors', '.npz')
LONGEST_HEADER = 10 ** 8  # bytes, as the reader of safetensors allows


def check_output(path: pathlib.Path, shown: str):
    """Raises InputError unless `write_tensors` knows the format of this name.

    Args:
      shown: how messages name the path.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f'{shown}: the format of this name is not known; '
                         f'give a name that ends in {" or ".join(SUFFIXES)}')
    if path.suffix == '.safetensors':
        try:
            import safetensors.numpy  # noqa: F401  an extra
        except ImportError as error:
            raise InputError(f"{shown}: safetensors is not installed; "
                             f"pip install 'jaxseg[pretrained]'") from error


def write_tensors(path: pathlib.Path, tensors: Tensors, metadata: Mapping[str, str]):
    """Writes a file that `read_tensors` reads, whole or not at all, in the format of its suffix."""
    with replacing(path) as partial:
        if path.suffix == '.npz':
            np.savez(partial, **tensors, **{METADATA: np.array(json.dumps(dict(metadata)))})
        else:
            import safetensors.numpy  # an extra

            # Its own writer of files makes them unreadable for all other users.
            partial.write_bytes(safetensors.numpy.save(tensors, dict(metadata)))


def read_metadata(path: str | pathlib.Path) -> dict[str, str]:
    """The metadata of a file that `write_tensors` or another writer of safetensors wrote.

    Raises:
      InputError: it cannot be read, or has none.
    """
    path, *_ = checkpoint_files(path)
    try:
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as archive:
                return dict(json.loads(str(archive[METADATA])))
        with path.open('rb') as file:
            length = int.from_bytes(file.read(8), 'little')
            return dict(json.loads(file.read(min(length, LONGEST_HEADER)))[METADATA])
    except Exception as error:  # zipfile, zlib, json and numpy's header parser each have their own
        raise InputError(f'{path}: it has no metadata ({type(error).__name__}); give a file that '
                         f'jaxseg export-weights wrote') from error
