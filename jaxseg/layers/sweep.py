"""Context layers as passes over a feature map in strips, for maps that do not fit into memory."""

from typing import Literal, NamedTuple


class Sweep(NamedTuple):
    """One pass over the maps of a layer, strip by strip.

    A layer that has `sweeps`, a tuple of these, and a method `sweep(index, maps, state)`, which
    returns the result for a strip and the state after it, gives in its last sweep what its
    `__call__` gives. The maps of a layer are its input, number 0, and the results of its sweeps,
    from number 1 on.

    Attributes:
      maps: numbers of the maps that it reads.
      columns: a strip is some columns of full height instead of some rows of full width.
      carry: 0 where strips do not depend on each other, 1 where the state is handed on to the next
        strip, -1 where to the one before. Strips begin at even multiples of the patch.
      patch: the result has this many times fewer rows and columns than the layer's input.
    """

    maps: tuple[int, ...]
    columns: bool = False
    carry: Literal[-1, 0, 1] = 0
    patch: int = 1
