"""Checkpoints in repositories of the Hugging Face Hub, downloaded once and kept in its cache."""

import contextlib
import pathlib
import re
from typing import NamedTuple

from jaxseg.errors import InputError

DEFAULT_FILE = 'model.safetensors'
ADDRESS = re.compile(r'hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?'
                     r'(/(?P<file>[\w./-]+))?')
LICENSE = re.compile(r'^license: *([\w.-]+) *$', re.MULTILINE)


class Address(NamedTuple):
    """`hf://OWNER/NAME@REVISION/FILE`, as the Hub's own tools write it.

    `revision` is a commit, tag or branch; without it the newest is taken.
    """

    repository: str
    revision: str | None
    file: str

    def __str__(self) -> str:
        revision = f'@{self.revision}' if self.revision else ''
        return f'hf://{self.repository}{revision}/{self.file}'


def parse(path: str | pathlib.Path) -> Address | None:
    """The address that a path is; None for a path of this machine.

    Raises:
      InputError: it begins as an address and is none.
    """
    if not str(path).startswith('hf://'):
        return None
    match = ADDRESS.fullmatch(str(path))
    if not match or '..' in str(path):
        raise InputError(f'{path}: no address on the Hub; give hf://OWNER/NAME@REVISION/FILE, '
                         f'where @REVISION may be missing and FILE, then {DEFAULT_FILE}')
    return Address(match['repository'], match['revision'], match['file'] or DEFAULT_FILE)


def download(address: Address) -> tuple[pathlib.Path, Address]:
    """The file in the cache, and its address with the commit that it is of.

    Raises:
      InputError: huggingface_hub is not installed, there is no such file, or no network.
    """
    try:
        import huggingface_hub  # an extra
    except ImportError as error:
        raise InputError(f"{address}: huggingface_hub is not installed; "
                         f"pip install 'jaxseg[hub]'") from error
    huggingface_hub.logging.set_verbosity_error()  # it warns of every retry
    try:
        file = pathlib.Path(huggingface_hub.hf_hub_download(
            address.repository, address.file, revision=address.revision))
    except Exception as error:  # of the network, the Hub, the cache; each library has its own
        reason = (str(error).strip().splitlines() or [''])[0]
        raise InputError(f'{address}: cannot be downloaded ({type(error).__name__}: {reason}); '
                         f'check the address and the network, or give a file of this machine'
                         ) from error
    # .../snapshots/COMMIT/FILE
    commit = file.parts[-1 - len(pathlib.PurePath(address.file).parts)]
    return file, address._replace(revision=commit)


def license_of(address: Address) -> str | None:
    """The licence that the card of a repository states, as an identifier of the Hub."""
    with contextlib.suppress(InputError, OSError, UnicodeError):
        card, _ = download(address._replace(file='README.md'))
        header = card.read_text(encoding='utf-8').partition('\n---')[0]
        found = LICENSE.search(header)
        return found and found[1]
    return None
