"""Named streams of random numbers."""

import zlib
from collections.abc import Sequence

import jax


def random_streams(key: jax.Array, names: Sequence[str]) -> dict[str, jax.Array]:
    """One key for every name; a stream depends on the key and its own name alone."""
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in names}
