"""Descriptions of models that other libraries save beside their weights, as config.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxseg.errors import InputError
from jaxseg.fields import nearest


class SavedModel(NamedTuple):
    """A whole model of another library in our terms; its images are RGB.

    Args:
      source: its table of names, a type of `pretrained`.
      model: the entry of the same model of ours.
      classes: their names.
      overlapping: whether each class has a sigmoid of its own.
    """

    source: str
    model: dict[str, Any]
    classes: tuple[str, ...]
    overlapping: bool


class Settings:
    """The keys of a config.json; each must be read, or have the one value that our model has."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self._values, self._where, self._left = values, where, set(values)

    def take(self, key: str, kind: type | tuple[type, ...]) -> Any:
        """The value of a key, which must be of this type.

        Raises:
          InputError: it is missing, or of another type.
        """
        self._left.discard(key)
        value = self._values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            raise InputError(f'{self._where}: {key} is {value!r}, which no such model has; '
                             f'copy the file again')
        return value

    def choose(self, key: str, choices: Mapping[Any, Any]) -> Any:
        """What `choices` has for the value of a key.

        Raises:
          InputError: nothing.
        """
        value = self.take(key, (str, type(None)))
        if value not in choices:
            raise InputError(f'{self._where}: {key} is {value!r}, of which there is no counterpart '
                             f'here; {nearest(value, choices)}')
        return choices[value]

    def require(self, **expected: Any):
        """Raises InputError where a key has a value for which there is no counterpart here."""
        for key, value in expected.items():
            self._left.discard(key)
            if self._values.get(key, value) != value:
                raise InputError(f'{self._where}: {key} is {self._values[key]!r}, and our model '
                                 f'has {value!r}; there is no counterpart of it here')

    def ignore(self, *keys: str):
        """Notes keys that do not change what the model computes."""
        self._left.difference_update(keys)

    def close(self):
        """Raises InputError if a key is left that nothing here has read."""
        if self._left:
            raise InputError(f'{self._where}: {min(self._left)} is not known here; the file may be '
                             f'of a newer version of the library')
