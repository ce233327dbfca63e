"""How a training step is divided among the devices: the keys of a config."""

import dataclasses
import math
from typing import Any, Literal

from jaxseg.errors import InputError
from jaxseg.fields import PositiveInt, check_fields, from_keys

# -1 means the devices that the other axes leave.
Devices = Literal[-1] | PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallel:
    """The devices form a grid of `data` x `fsdp` x `space`; one of the three may be -1, the rest.

    All take the steps of one device, to rounding, with one exception: what mixes images on the
    device (`jaxseg.data.device_mixing`) takes them under 'pmap' from those of the same device, and
    where that has one image, mixes it with itself.

    Args:
      strategy: 'jit' is one program over all devices, 'pmap' one a device, which offers `data`
        alone.
      data: copies of the parameters, each with its share of the batch.
      fsdp: devices that share the batch, too, and one copy of the parameters and of the state of
        the optimizer (fully sharded data parallelism: Rajbhandari et al. 2020, ZeRO, stage 3).
      space: devices that share the height of every image, for images too large for one.
    """

    strategy: Literal['jit', 'pmap'] = 'jit'
    data: Devices = -1
    fsdp: Devices = 1
    space: Devices = 1

    def __post_init__(self):
        check_fields(self, 'config.parallel')
        rest = [name for name, size in self._axes.items() if size == -1]
        if len(rest) > 1:
            raise InputError(f'config.parallel: {" and ".join(rest)} are -1, the devices that the '
                             f'other axes leave; give a number for all but one')
        if self.strategy == 'pmap' and (self.fsdp, self.space) != (1, 1):
            raise InputError(f"config.parallel: 'pmap' splits the batch alone, and fsdp is "
                             f"{self.fsdp}, space {self.space}; give 1 for both, or strategy 'jit'")

    @classmethod
    def from_mapping(cls, values: Any) -> 'Parallel':
        """From the keys of a config.

        Raises:
          InputError: no mapping, an unknown key, or a value out of range.
        """
        return from_keys(cls, 'config.parallel', values, {'fsdp': 8})

    def sizes(self, devices: int) -> tuple[int, int, int]:
        """Devices along data, fsdp and space.

        Raises:
          InputError: they are not `devices` in all.
        """
        given = math.prod(size for size in self._axes.values() if size != -1)
        words = ' x '.join(f'{name} {size}' for name, size in self._axes.items() if size != -1)
        if -1 in self._axes.values():
            if devices % given:
                raise InputError(f'config.parallel: {words} = {given} does not divide the '
                                 f'{devices} devices; give {_divisors(devices)}')
        elif given != devices:
            raise InputError(f'config.parallel: {words} = {given}, and there are {devices} '
                             f'devices; give one of them as -1, the others {_divisors(devices)}')
        return tuple(devices // given if size == -1 else size for size in self._axes.values())

    @property
    def _axes(self) -> dict[str, int]:
        return {'data': self.data, 'fsdp': self.fsdp, 'space': self.space}


def _divisors(devices: int) -> str:
    return ' or '.join(str(n) for n in range(1, devices + 1) if devices % n == 0)
