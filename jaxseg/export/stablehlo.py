"""StableHLO: a compiled function of JAX in a file, which runs wherever JAX does.

The file is a zip archive of `model.bin`, what `jax.export` serializes, and `metadata.json`. It
needs JAX and flatbuffers, and nothing of jaxseg:

    import json, zipfile
    from jax import export
    with zipfile.ZipFile('model.zip') as file:
        model = export.deserialize(bytearray(file.read('model.bin')))
        metadata = json.loads(file.read('metadata.json'))
    masks = model.call(images)  # (B, H, W, C) -> (B, H, W)

A later JAX reads it, too, for the six months that `jax.export` guarantees.
"""

import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import export

from jaxseg.errors import InputError
from jaxseg.export.images import Images
from jaxseg.files import replacing

PLATFORMS = ('cpu', 'cuda', 'tpu')


def check_packages():
    """Raises InputError if what writes the file is not installed."""
    try:
        import flatbuffers  # noqa: F401  an extra
    except ImportError as error:
        raise InputError("--format=stablehlo: flatbuffers is not installed; "
                         "pip install 'jaxseg[export]'") from error


def convert(function: Callable[[jax.Array], jax.Array], images: Images) -> export.Exported:
    """A pure function of images, with all arrays that it holds, lowered for all platforms."""
    sides = ('b', 'h', 'w', 'c')
    text = ', '.join(name if side is None else str(side)
                     for name, side in zip(sides, images.shape, strict=True))
    shape = jax.ShapeDtypeStruct(export.symbolic_shape(text), images.dtype)
    return export.export(jax.jit(function), platforms=PLATFORMS)(shape)


def write(path: pathlib.Path, program: export.Exported, metadata: Mapping[str, Any]):
    """Writes program and metadata, whole or not at all."""
    with replacing(path) as partial, zipfile.ZipFile(partial, 'w') as file:
        file.writestr('model.bin', bytes(program.serialize(vjp_order=0)))
        file.writestr('metadata.json', json.dumps(dict(metadata), indent=1))
