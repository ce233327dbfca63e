"""Files as `torch.save` writes them, in both formats, without torch."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

TYPES = {'float64': 'DoubleStorage', 'float32': 'FloatStorage', 'float16': 'HalfStorage',
         'bfloat16': 'BFloat16Storage', 'int64': 'LongStorage', 'uint8': 'ByteStorage',
         'bool': 'BoolStorage'}
LEGACY_HEADER = (0x1950a86a20f9469cfc6c, 1001, {'little_endian': True})


class Global(NamedTuple):
    """A class or function that the pickle names."""

    module: str
    name: str


class Call(NamedTuple):
    """A call that is made when the file is read."""

    function: Global
    arguments: tuple


class Tensor(NamedTuple):
    """A view of a storage; sizes and steps in elements."""

    storage: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    numel: int | None = None  # as stated; None is that of the storage


class _Pickler(pickle._Pickler):
    """The pickler of the standard library in Python, which a subclass can extend."""

    def __init__(self, stream: io.BytesIO, legacy: bool):
        super().__init__(stream, protocol=2)
        self.storages: list[np.ndarray] = []
        self._legacy = legacy

    def save(self, value: Any, save_persistent_id: bool = True):
        if isinstance(value, Global):
            self.write(f'c{value.module}\n{value.name}\n'.encode())
        elif isinstance(value, Call):
            self.save(value.function)
            super().save(value.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(value, (Tensor, np.ndarray)):
            self._save_tensor(value if isinstance(value, Tensor) else whole(value))
        else:
            super().save(value, save_persistent_id)

    def _save_tensor(self, tensor: Tensor):
        if not any(tensor.storage is known for known in self.storages):
            self.storages.append(tensor.storage)
        key = next(index for index, known in enumerate(self.storages) if known is tensor.storage)
        numel = tensor.storage.size if tensor.numel is None else tensor.numel
        view = (None,) if self._legacy else ()
        self.save(Global('torch._utils', '_rebuild_tensor_v2'))
        self.write(pickle.MARK)
        super().save(('storage', Global('torch', TYPES[tensor.storage.dtype.name]), str(key),
                      'cpu', numel, *view))
        self.write(pickle.BINPERSID)
        for argument in (tensor.offset, tensor.shape, tensor.strides, False,
                         Call(Global('collections', 'OrderedDict'), ())):
            self.save(argument)
        self.write(pickle.TUPLE + pickle.REDUCE)


def whole(array: np.ndarray) -> Tensor:
    """A contiguous tensor with a storage of its own."""
    storage = np.ascontiguousarray(array).reshape(array.shape)  # of no axis it makes one
    return Tensor(storage, array.shape, tuple(step // array.itemsize for step in storage.strides))


def encode(value: Any, *, legacy: bool = False, extra: Mapping[str, bytes] | None = None) -> bytes:
    """The content of a file that holds a value: plain ones, arrays, `Tensor`, `Global`, `Call`.

    Args:
      legacy: the format before PyTorch 1.6.
      extra: more entries of the archive of the format after it.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, legacy)
    pickler.dump(value)
    storages = {str(index): storage for index, storage in enumerate(pickler.storages)}
    if legacy:
        head = b''.join(pickle.dumps(part, protocol=2) for part in LEGACY_HEADER)
        body = b''.join(storage.size.to_bytes(8, 'little') + storage.tobytes()
                        for storage in storages.values())
        return head + stream.getvalue() + pickle.dumps(list(storages), protocol=2) + body
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', stream.getvalue())
        archive.writestr('archive/byteorder', 'little')
        for key, storage in storages.items():
            archive.writestr(f'archive/data/{key}', storage.tobytes())
        for name, content in (extra or {}).items():
            archive.writestr(f'archive/{name}', content)
    return file.getvalue()
