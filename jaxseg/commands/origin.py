"""Where the first weights of a model came from."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields
from jaxseg.pretrained import hub


@dataclasses.dataclass(frozen=True)
class Origin:
    """The weights of another library that a part of a model began with, saved in model.json.

    Args:
      type: the table of names, as in the config.
      source: the address on the Hugging Face Hub, with the commit; None is a file of the machine.
      sha256: digests of the files of the checkpoint, by name.
      license: of the weights, an SPDX identifier; None is unknown.
      size: height and width of the images that they were trained with; None is unknown.
    """

    type: str
    source: str | None
    sha256: Mapping[str, str]
    license: str | None
    size: tuple[PositiveInt, PositiveInt] | None = None

    def __post_init__(self):
        check_fields(self, 'model.json.pretrained')
        object.__setattr__(self, 'size', self.size and tuple(self.size))

    @classmethod
    def of(cls, weights: Any, type: str, model: Any) -> 'Origin':
        """The origin of what a part of `pretrained` loads into a model.

        Raises:
          InputError: a file is missing, or cannot be downloaded.
        """
        files, license = weights.files, weights.license
        address = hub.parse(getattr(weights, 'path', ''))
        if address is not None:
            _, address = hub.download(address)  # from the cache
            license = license or hub.license_of(address)
        return cls(type, address and str(address), {file.name: _digest(file) for file in files},
                   license, weights.size(model))

    @classmethod
    def from_record(cls, values: Any) -> 'Origin | None':
        """From what model.json holds; None where the model began with random values."""
        fields = dataclasses.fields(cls)
        names = {field.name for field in fields}
        required = {field.name for field in fields if field.default is dataclasses.MISSING}
        if values is None or isinstance(values, cls):
            return values
        if not isinstance(values, Mapping) or not required <= values.keys() <= names:
            raise InputError(f'model.json.pretrained: {values!r} instead of '
                             f'{", ".join(sorted(names))}; restore the file')
        return cls(**values)

    def __str__(self) -> str:
        files = ', '.join(f'{name} (SHA-256 {digest[:12]}...)'
                          for name, digest in self.sha256.items())
        source = f'{self.source}, ' if self.source else ''
        size = f'images of {self.size[1]} x {self.size[0]} pixels, ' if self.size else ''
        return f'{self.type}, {source}{files}, {size}licence {self.license or "unknown"}'


def _digest(path: Any) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
