"""Which packages jaxseg and its extras need, and which of them are installed."""

import importlib.metadata
import re
from collections.abc import Iterator
from typing import NamedTuple

from jaxseg.commands.environment import installed_version

# Extras for those who change jaxseg, and one with what other extras have.
NOT_FOR_USERS = ('test',)


class Requirement(NamedTuple):
    """A package, the lowest version that will do (None: any), and the extra that needs it."""

    package: str
    least: str | None
    extra: str | None

    @property
    def installed(self) -> str | None:
        """The version that is installed."""
        return installed_version(self.package)

    @property
    def satisfied(self) -> bool:
        """Whether it is installed, in this version or a newer one."""
        return self.installed is not None and (
            self.least is None or _numbers(self.installed) >= _numbers(self.least))

    @property
    def remedy(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.package}{f'>={self.least}' if self.least else ''}'"


def requirements() -> Iterator[Requirement]:
    """Those that setup.cfg names, as the installation of jaxseg noted them.

    Raises:
      PackageNotFoundError: jaxseg itself is not installed, only on the path.
    """
    for line in importlib.metadata.requires('jaxseg') or ():
        found = re.fullmatch(r'''([\w.-]+)(?:>=([\w.]+))?(?:\s*;\s*extra == ["']([\w-]+)["'])?''',
                             line)
        if found and found[3] not in NOT_FOR_USERS:
            yield Requirement(*found.groups())


def _numbers(version: str) -> list[int]:
    """The numbers of a version before what is none, as in 0.10.2rc1."""
    return [int(number) for number in re.match(r'[\d.]*', version)[0].split('.') if number]
