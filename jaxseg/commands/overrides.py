"""Config overrides of a run that is already trained: which have an effect, and what they are called in a file name."""

import re
import zlib
from collections.abc import Sequence

from jaxseg.errors import InputError

LONGEST = 80  # characters of a file name that overrides may take


def check_overrides(subcommand: str, overrides: Sequence[str], effective: Sequence[str]):
    """Raises InputError for an override whose key changes nothing in this subcommand."""
    for override in overrides:
        key = override.removeprefix('--config.').partition('=')[0]
        if key.split('.')[0] not in effective:
            raise InputError(f'--config.{key}: has no effect in {subcommand}, which uses {", ".join(effective)} of the config '
                             f'of the run; remove it')


def override_names(overrides: Sequence[str], *, without: Sequence[str] = ()) -> str:
    """Overrides as part of a file name; those of the keys in `without` change no score and are left out."""
    kept = sorted(override.removeprefix('--config.') for override in overrides
                  if override.removeprefix('--config.').partition('=')[0] not in without)
    return file_name('_'.join(kept))


def file_name(text: str) -> str:
    """A text with nothing but letters, digits and `._=-`; what had to be changed or cut is told apart by a checksum."""
    plain = re.sub(r'[^\w.=-]+', '-', text, flags=re.ASCII)[:LONGEST]
    return plain if plain == text else f'{plain}-{zlib.crc32(text.encode("utf-8", "surrogateescape")):08x}'
