"""The tensors of a checkpoint file of any known format, by name."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from jaxseg.errors import InputError
from jaxseg.pretrained import hub
from jaxseg.pretrained.torch_file import read_torch

Tensors = dict[str, np.ndarray]
INDEX = '.index.json'
METADATA = '__metadata__'  # the same key in safetensors and in our npz
SAFETENSORS = {
    'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': ml_dtypes.bfloat16,
    'F8_E4M3': ml_dtypes.float8_e4m3fn, 'F8_E5M2': ml_dtypes.float8_e5m2, 'I64': 'int64',
    'I32': 'int32', 'I16': 'int16', 'I8': 'int8', 'U64': 'uint64', 'U32': 'uint32',
    'U16': 'uint16', 'U8': 'uint8', 'BOOL': 'bool'}
# Where training scripts put the weights of the model among other things.
NESTED = ('state_dict', 'model', 'model_state_dict', 'module')


def read_tensors(path: str | pathlib.Path) -> Tensors:
    """The tensors of a checkpoint by name, as numpy arrays.

    Formats, by the suffix of the file:

    - `.safetensors` (with the extra `[pretrained]`);
    - `.pth`, `.pt` and `.bin`, of `torch.save`: a dict of tensors, or one under the key
      'state_dict', 'model', 'model_state_dict' or 'module'. Nothing in the file is run;
    - `.npz`;
    - `.index.json` of a checkpoint in several files, which lie in the same folder.

    A path may be an address on the Hugging Face Hub (`jaxseg.pretrained.hub`).

    Raises:
      InputError: a missing or damaged file, another format, or something that is no tensor.
    """
    path, *_ = checkpoint_files(path)
    for suffixes, read in READERS.items():
        if path.name.endswith(suffixes):
            return read(path)
    known = ', '.join(suffix for suffixes in READERS for suffix in suffixes)
    raise InputError(f'{path}: the format of this name is not known; known are {known}')


def checkpoint_files(path: str | pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The files that `read_tensors` reads: the path, and with an index the files beside it.

    Raises:
      InputError: there is no file, it cannot be downloaded, or an index is damaged.
    """
    address = hub.parse(path)
    if address is None:
        file = _file(path)
    else:
        file, address = hub.download(address)
    parts = sorted(set(_weight_map(file).values())) if file.name.endswith(INDEX) else ()
    for name in parts if address else ():
        hub.download(address._replace(file=str(pathlib.PurePath(address.file).with_name(name))))
    return (file, *(_file(file.with_name(name)) for name in parts))


def _file(path: str | pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f'{path} is not a file; give the path of a checkpoint')
    return path


def _read_torch(path: pathlib.Path) -> Tensors:
    saved = read_torch(path)
    for key in NESTED:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
    if not isinstance(saved, dict) or not saved:
        raise InputError(f'{path}: it holds a {type(saved).__name__}, not tensors by name; '
                         f'save model.state_dict()')
    for name, value in saved.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise InputError(f'{path}: {name!r} is a {type(value).__name__}, not a tensor; '
                             f'save model.state_dict() alone')
    return saved


def _read_safetensors(path: pathlib.Path) -> Tensors:
    try:
        import safetensors  # an extra
    except ImportError as error:
        raise InputError(f"{path}: safetensors is not installed; "
                         f"pip install 'jaxseg[pretrained]'") from error
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(f'{path}: damaged, or not safetensors ({error}); copy it again'
                         ) from error
    return {name: _from_bytes(path, name, entry) for name, entry in entries}


def _from_bytes(path: pathlib.Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry['dtype'] not in SAFETENSORS:
        raise InputError(f'{path}: {name} has the dtype {entry["dtype"]}, which is not known')
    return np.frombuffer(entry['data'], SAFETENSORS[entry['dtype']]).reshape(entry['shape'])


def _read_npz(path: pathlib.Path) -> Tensors:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive if name != METADATA}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib, and numpy's header parser each have their own
        raise InputError(f'{path}: damaged, or not npz ({error}); copy it again') from error


def _read_index(path: pathlib.Path) -> Tensors:
    """A checkpoint in several files, as the Hugging Face libraries write it."""
    files = _weight_map(path)
    parts = {name: read_tensors(path.with_name(name)) for name in set(files.values())}
    missing = [name for name, file in files.items() if name not in parts[file]]
    if missing:
        raise InputError(f'{path}: tensor {missing[0]} is not in {files[missing[0]]}; '
                         f'copy the files of one checkpoint')
    return {name: parts[file][name] for name, file in files.items()}


def _weight_map(path: pathlib.Path) -> dict[str, str]:
    """Names of tensors and of the files beside an index that hold them."""
    try:
        files = dict(json.loads(path.read_text())['weight_map'])
        names = sorted(set(files.values()))
        # A name with folders in it could lead to any other file, another index to this one.
        plain = [name == pathlib.PurePath(name).name and not name.endswith(INDEX)
                 for name in names]
    except (ValueError, KeyError, TypeError, RecursionError):
        names, plain = [], []
    if not names or not all(plain):
        raise InputError(f'{path}: it does not map names of tensors to files beside it under '
                         f'`weight_map`; copy it again')
    return files


READERS: dict[tuple[str, ...], Callable[[pathlib.Path], Tensors]] = {
    ('.safetensors',): _read_safetensors, ('.pth', '.pt', '.bin'): _read_torch,
    ('.npz',): _read_npz, (INDEX,): _read_index}
