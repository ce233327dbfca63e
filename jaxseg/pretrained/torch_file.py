"""Checkpoints of PyTorch, read without PyTorch and without running anything that they name.

`torch.save` pickles an object whose tensors refer to storages: in a zip archive these are entries
of their own, in the older format they follow the pickle. A pickle is a program. This one may
contain tensors, plain containers, numbers and text; everything else is refused by its name.
"""

import collections
import io
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from jaxseg.errors import InputError

# The first pickle of the older format holds this number, the second the version of the format.
LEGACY_NUMBER, LEGACY_VERSION = 0x1950a86a20f9469cfc6c, 1001
LEGACY_START = pickle.dumps(LEGACY_NUMBER, protocol=2)
STORAGES = {
    'DoubleStorage': 'float64', 'FloatStorage': 'float32', 'HalfStorage': 'float16',
    'BFloat16Storage': ml_dtypes.bfloat16, 'LongStorage': 'int64', 'IntStorage': 'int32',
    'ShortStorage': 'int16', 'CharStorage': 'int8', 'ByteStorage': 'uint8', 'BoolStorage': 'bool'}
BYTES = 8  # of the number of elements that precedes a storage in the older format


class _Storage(NamedTuple):
    """The memory of tensors: a key of the file, and elements of it from `start` on."""

    key: str
    dtype: np.dtype
    start: int
    size: int


class _Tensor(NamedTuple):
    """A tensor as it is pickled; sizes and steps are counted in elements of its storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: pathlib.Path) -> Any:
    """What `torch.save` wrote: containers, numbers and text, with numpy arrays for tensors.

    Tensors that share a storage share their memory here, too, and cannot be written to.

    Raises:
      InputError: another format, a damaged file, or something that is neither a tensor nor plain.
    """
    try:
        with path.open('rb') as file:
            if zipfile.is_zipfile(file):
                return _read_archive(file)
        return _read_legacy(path.read_bytes())
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of damaged pickles and archives there are a dozen kinds
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'{path}: not a checkpoint of PyTorch, or a damaged one ({reason}); '
                         f'save or copy it again') from error


def _read_archive(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        found = [name for name in names if name.count('/') == 1 and name.endswith('/data.pkl')]
        if not found or any(name.endswith('/constants.pkl') for name in names):
            raise InputError('a zip archive, but no tensors of torch.save (TorchScript programs '
                             'cannot be read); save model.state_dict()')
        folder = found[0].removesuffix('data.pkl')
        if f'{folder}byteorder' in names and archive.read(f'{folder}byteorder') != b'little':
            raise InputError('its numbers are big-endian; save it on a little-endian machine')
        with archive.open(found[0]) as stream:
            saved = _Unpickler(stream).load()
        storages: dict[str, np.ndarray] = {}

        def memory(storage: _Storage) -> np.ndarray:
            if storage.key not in storages:
                entry = archive.getinfo(f'{folder}data/{storage.key}')
                if entry.compress_type != zipfile.ZIP_STORED:  # as torch.save does: no bombs
                    raise InputError(f'{entry.filename} is compressed; save it with torch.save')
                storages[storage.key] = np.frombuffer(archive.read(entry), np.uint8)
            return storages[storage.key]

        return _with_arrays(saved, memory)


def _read_legacy(content: bytes) -> Any:
    if not content.startswith(LEGACY_START):
        raise InputError('not a checkpoint of torch.save; save model.state_dict()')
    # In memory a length in a damaged pickle cannot ask for more than there is.
    stream = io.BytesIO(content)
    _, version, _ = (_Unpickler(stream).load() for _ in range(3))
    if version != LEGACY_VERSION:
        raise InputError(f'version {version!r} of the format is not known')
    unpickler = _Unpickler(stream)
    saved, storages = unpickler.load(), {}
    for key in _Unpickler(stream).load():
        size = int.from_bytes(stream.read(BYTES), 'little') * unpickler.sizes[key]
        storages[key] = np.frombuffer(content, np.uint8)[stream.tell():][:size]
        stream.seek(size, io.SEEK_CUR)
    return _with_arrays(saved, lambda storage: storages[storage.key])


class _Unpickler(pickle.Unpickler):
    """Unpickles plain values and descriptions of tensors."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.sizes: dict[str, int] = {}  # bytes of an element, by storage
        self._allowed = _callables()

    def find_class(self, module: str, name: str) -> Any:
        if module == 'torch' and name in STORAGES:
            return name
        if (module, name) not in self._allowed:
            raise InputError(f'it contains {module}.{name}, which is neither a tensor nor a plain '
                             f'value, and is not run; save model.state_dict() alone')
        return self._allowed[module, name]

    def persistent_load(self, saved: Any) -> _Storage:
        kind, name, key, _, size, *view = saved
        if kind != 'storage' or name not in STORAGES:
            raise InputError(f'a storage of type {name!r} is not known')
        start = 0
        if view and view[0] is not None:  # in the older format: a part of another storage
            _, start, size = view[0]
        if not all(isinstance(number, int) and number >= 0 for number in (start, size)):
            raise InputError(f'storage {key} has no valid size')
        dtype = np.dtype(STORAGES[name])
        self.sizes[key] = dtype.itemsize
        return _Storage(key, dtype, start, size)


def _callables() -> dict[tuple[str, str], Callable]:
    """All that a pickle may call.

    It could set attributes of what it calls, too: so the functions are made for every file, and the
    types are built in, and cannot be changed.
    """
    def rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any
                       ) -> _Tensor:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides) or any(
                not isinstance(number, int) or number < 0 for number in numbers):
            raise InputError('a tensor has no valid shape')
        last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.size:
            raise InputError(f'a tensor of shape {tuple(shape)} ends after its storage of '
                             f'{storage.size} elements')
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    def rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
        return tensor

    return {('collections', 'OrderedDict'): collections.OrderedDict,
            ('torch', 'Size'): tuple,
            ('torch._utils', '_rebuild_tensor_v2'): rebuild_tensor,
            ('torch._utils', '_rebuild_parameter'): rebuild_parameter}


def _with_arrays(saved: Any, memory: Callable[[_Storage], np.ndarray]) -> Any:
    """The same with arrays in place of the descriptions of tensors, and lists for tuples."""
    if isinstance(saved, _Tensor):
        return _array(saved, memory(saved.storage))
    if isinstance(saved, dict):
        return {key: _with_arrays(value, memory) for key, value in dict.items(saved)}
    if isinstance(saved, (list, tuple)):
        return [_with_arrays(value, memory) for value in saved]
    return saved


def _array(tensor: _Tensor, content: np.ndarray) -> np.ndarray:
    storage, size = tensor.storage, tensor.storage.dtype.itemsize
    content = content[storage.start * size:(storage.start + storage.size) * size]
    if len(content) < storage.size * size:
        raise InputError(f'truncated: {len(content)} of {storage.size * size} bytes of storage '
                         f'{storage.key}; copy it again')
    elements = content.view(storage.dtype)[tensor.offset:]
    return np.lib.stride_tricks.as_strided(
        elements, tensor.shape, [step * size for step in tensor.strides], writeable=False)
