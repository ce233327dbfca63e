"""JSON files that hold one object each, sealed with a SHA-256 where a program depends on them."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.files import replacing

SEAL = 'sha256'


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and, under the key `sha256`, the digest of all of them."""
    return {**values, SEAL: _digest(values)}


def unsealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without their digest.

    Raises:
      InputError: there is no digest, or it is another one.
    """
    plain = {name: value for name, value in values.items() if name != SEAL}
    if values.get(SEAL) != _digest(plain):
        problem = 'does not match its values' if SEAL in values else 'is missing'
        raise InputError(f'its {SEAL} {problem}: the file is damaged, or was changed by hand')
    return plain


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: pathlib.Path, values: Any):
    """Writes a JSON file; a reader finds the old file or the new one, never a part."""
    text = json.dumps(values, indent=1, ensure_ascii=False) + '\n'
    with replacing(path) as partial:
        # What is no Unicode, in names of files, becomes an escape of JSON.
        partial.write_text(text, encoding='utf-8', errors='backslashreplace')


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
      InputError: the file is missing, no JSON, or no object.
    """
    if path.exists() and not path.is_file():  # a pipe would never end
        raise InputError(f'{path}: no regular file; restore the file')
    try:
        values = json.loads(path.read_text(encoding='utf-8-sig'))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); restore the file') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not JSON ({error}); fix or restore the file') from None
    if not isinstance(values, dict):
        raise InputError(f'{path}: holds a {type(values).__name__}, expected names and values in '
                         f'braces; fix or restore the file')
    return values


def write_record(path: pathlib.Path, values: Mapping[str, Any]):
    """Writes a sealed JSON file."""
    write_json(path, sealed(json.loads(json.dumps(values))))


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """What `write_record` wrote.

    Raises:
      InputError: the file is missing or differs in a value from what was written.
    """
    values = read_json(path)
    try:
        return unsealed(values)
    except InputError as error:
        raise InputError(f'{path}: {error}; restore the file') from None


def read_fields(cls: type, path: pathlib.Path, optional: Collection[str] = ()) -> Any:
    """An instance of a dataclass from a record of all of its fields and no others.

    Args:
      optional: fields with a default that records of earlier versions do not have.

    Raises:
      InputError: the file is missing or damaged.
    """
    values = read_record(path)
    fields = {field.name for field in dataclasses.fields(cls)}
    if values.keys() | set(optional) != fields:
        raise InputError(f'{path}: holds {", ".join(values) or "nothing"}, expected '
                         f'{", ".join(sorted(fields))}; fix or restore the file')
    return cls(**values)
