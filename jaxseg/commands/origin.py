"""Where the first weights of a model came from."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.fields import check_fields
from jaxseg.pretrained import hub


@dataclasses.dataclass(frozen=True)
class Origin:
    """The weights of another library that a part of a model began with, saved in model.json.

    Args:
      type: the table of names, as in the config.
      source: the address on the Hugging Face Hub, with the commit; None is a file of the machine.
      sha256: digests of the files of the checkpoint, by name.
      license: of the weights, an SPDX identifier; None is unknown.
    """

    type: str
    source: str | None
    sha256: Mapping[str, str]
    license: str | None

    def __post_init__(self):
        check_fields(self, 'model.json.pretrained')

    @classmethod
    def of(cls, weights: Any, type: str) -> 'Origin':
        """The origin of what a part of `pretrained` loads.

        Raises:
          InputError: a file is missing, or cannot be downloaded.
        """
        files, license = weights.files, weights.license
        address = hub.parse(getattr(weights, 'path', ''))
        if address is not None:
            _, address = hub.download(address)  # from the cache
            license = license or hub.license_of(address)
        return cls(type, address and str(address), {file.name: _digest(file) for file in files},
                   license)

    @classmethod
    def from_record(cls, values: Any) -> 'Origin | None':
        """From what model.json holds; None where the model began with random values."""
        names = {field.name for field in dataclasses.fields(cls)}
        if values is None or isinstance(values, cls):
            return values
        if not isinstance(values, Mapping) or values.keys() != names:
            raise InputError(f'model.json.pretrained: {values!r} instead of '
                             f'{", ".join(sorted(names))}; restore the file')
        return cls(**values)

    def __str__(self) -> str:
        files = ', '.join(f'{name} (SHA-256 {digest[:12]}...)'
                          for name, digest in self.sha256.items())
        source = f'{self.source}, ' if self.source else ''
        return f'{self.type}, {source}{files}, licence {self.license or "unknown"}'


def _digest(path: Any) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
