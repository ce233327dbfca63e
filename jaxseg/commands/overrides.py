"""Config overrides of a trained run: which have an effect, and their part of a file name."""

import re
import zlib
from collections.abc import Sequence

from jaxseg.errors import InputError

LONGEST = 80  # characters of a file name that overrides may take


def check_overrides(subcommand: str, overrides: Sequence[str], effective: Sequence[str]):
    """Raises InputError for an override whose key changes nothing in this subcommand."""
    for override in overrides:
        key = _key(override)
        if key.split('.')[0] not in effective:
            raise InputError(f'--config.{key}: has no effect in {subcommand}; remove it '
                             f'(keys with an effect: {", ".join(effective) or "none"})')


def override_names(overrides: Sequence[str], *, without: Sequence[str] = ()) -> str:
    """Overrides as part of a file name, without those of the keys in `without`."""
    kept = sorted(override.removeprefix('--config.') for override in overrides
                  if _key(override) not in without)
    return file_name('_'.join(kept))


def _key(override: str) -> str:
    return override.removeprefix('--config.').partition('=')[0]


def file_name(text: str) -> str:
    """A text with nothing but letters, digits and `._=-`; a checksum follows what was changed."""
    plain = re.sub(r'[^\w.=-]+', '-', text, flags=re.ASCII)[:LONGEST]
    checksum = zlib.crc32(text.encode('utf-8', 'surrogateescape'))
    return plain if plain == text else f'{plain}-{checksum:08x}'
