"""ONNX: a file for onnxruntime, onnxruntime-web and other programs, for any size of image.

    import onnxruntime
    session = onnxruntime.InferenceSession('model.onnx')
    metadata = session.get_modelmeta().custom_metadata_map
    masks, = session.run(None, {'images': images})  # (B, H, W, C) -> (B, H, W)

Written here rather than taken from jax2onnx: its release 0.17.1 requires an older Orbax than ours
and takes no symbolic heights and widths.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from jaxseg.errors import InputError
from jaxseg.export import onnx_loops, onnx_products, onnx_rules
from jaxseg.export.images import Images
from jaxseg.export.onnx_graph import Graph
from jaxseg.files import replacing

INPUT, SIDES = 'images', ('batch', 'height', 'width', 'channels')
RULES = {**onnx_rules.RULES, **onnx_products.RULES, **onnx_loops.RULES}
# What onnxruntime and onnxruntime-web of 2024 read.
OPSET, VERSION = 18, 9
# Protocol buffers, of which the file is one, end at 2 GiB.
LARGEST_FILE = 2 ** 31 - 1


def check_packages():
    """Raises InputError if what writes the file is not installed."""
    try:
        import onnx  # noqa: F401  an extra
        import onnxruntime  # noqa: F401  an extra
    except ImportError as error:
        raise InputError(f"--format=onnx: {error.name} is not installed; "
                         f"pip install 'jaxseg[export]'") from error


def convert(function: Callable[[jax.Array], jax.Array], images: Images) -> Any:
    """A pure function of images, with all arrays that it holds, as an ONNX model.

    Raises:
      NotSupported: an operation that has no rule.
    """
    from onnx import helper, numpy_helper

    text = ', '.join(name if side is None else str(side)
                     for name, side in zip(SIDES, images.shape, strict=True))
    shape = jax.ShapeDtypeStruct(export.symbolic_shape(text), images.dtype)
    traced = jax.jit(function).trace(shape).jaxpr
    graph = Graph(RULES)
    for axis, (name, side) in enumerate(zip(SIDES, images.shape, strict=True)):
        if side is None:
            graph.name_side(name, graph.node('Shape', INPUT, start=axis, end=axis + 1))
    found, = graph.run(traced.jaxpr, [np.asarray(value) for value in traced.consts], [INPUT])
    aval = traced.jaxpr.outvars[0].aval
    graph.nodes.append(helper.make_node('Identity', [graph.name_of(found)], ['outputs']))
    infos = [helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
        [side if isinstance(side, int) else str(side) for side in sides])
        for name, dtype, sides in ((INPUT, images.dtype, shape.shape),
                                   ('outputs', aval.dtype, aval.shape))]
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.values()]
    made = helper.make_graph(graph.nodes, 'jaxseg', infos[:1], infos[1:], constants)
    return helper.make_model(made, ir_version=VERSION, producer_name='jaxseg',
                             opset_imports=[helper.make_opsetid('', OPSET)])


def write(path: pathlib.Path, program: Any, metadata: Mapping[str, Any]):
    """Writes program and metadata, whole or not at all.

    Raises:
      InputError: the model is larger than such a file can be.
    """
    from onnx import helper

    helper.set_model_props(program, {key: json.dumps(value) for key, value in metadata.items()})
    with replacing(path) as partial:
        partial.write_bytes(_serialized(program))


def run(program: Any, images: np.ndarray) -> np.ndarray:
    """What onnxruntime computes for a batch of images.

    Raises:
      InputError: the model is larger than a file can be, or onnxruntime does not run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the exception says it, too
    serialized = _serialized(program)
    try:
        session = onnxruntime.InferenceSession(serialized, options)
        return session.run(None, {INPUT: images})[0]
    except Exception as error:  # its exceptions have no class of their own in common
        raise InputError(f'--format=onnx: onnxruntime {onnxruntime.__version__} does not run the '
                         f'model: {" ".join(str(error).split())}; use --format=stablehlo'
                         ) from error


def _serialized(program: Any) -> bytes:
    if program.ByteSize() > LARGEST_FILE:
        raise InputError(f'--format=onnx: the model has {program.ByteSize() / 1e9:.1f} GB, and '
                         f'an ONNX file at most 2; use --format=stablehlo')
    return program.SerializeToString()
