"""Rules for convolutions, pooling, matrix products, and reading and writing parts of arrays."""

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotSupported, Value


def _transposed(graph: Graph, x: Value, order: Sequence[int]) -> Value:
    if list(order) == list(range(len(order))):
        return x
    if isinstance(x, np.ndarray):
        return np.ascontiguousarray(x.transpose(order))
    return graph.node('Transpose', x, perm=[int(axis) for axis in order])


def _conv_general_dilated(graph: Graph, eqn: Any, x: Value, kernel: Value) -> Value:
    """ONNX has the channels before the rows, in maps and in kernels."""
    params, inputs = eqn.params, eqn.invars
    layout, spatial = params['dimension_numbers'], len(params['window_strides'])
    if params['batch_group_count'] != 1:
        raise NotSupported('a convolution with groups of images')
    x = _transposed(graph, x, layout.lhs_spec)
    kernel = _transposed(graph, kernel, layout.rhs_spec)
    size = [inputs[1].aval.shape[axis] for axis in layout.rhs_spec[2:]]
    low, high = map(list, zip(*params['padding'], strict=True))
    options = dict(kernel_shape=size, dilations=list(params['rhs_dilation']),
                   group=params['feature_group_count'])
    if any(step != 1 for step in params['lhs_dilation']):
        x = _conv_transpose(graph, params, x, kernel, low, high, options)
    else:
        x, low, high = _cropped(graph, x, low, high)
        x = graph.node('Conv', x, kernel, strides=list(params['window_strides']),
                       pads=[*low, *high], **options)
    order = np.argsort(layout.out_spec) if spatial else None
    return _transposed(graph, x, order)


def _conv_transpose(graph: Graph, params: dict, x: Value, kernel: Value, low: list, high: list,
                    options: dict) -> Value:
    """A convolution of a map with zeros between its positions."""
    reach = [(length - 1) * step
             for length, step in zip(options['kernel_shape'], options['dilations'], strict=True)]
    pads = [far - side for sides in (low, high) for far, side in zip(reach, sides, strict=True)]
    if options['group'] != 1 or min(pads) < 0 or set(params['window_strides']) != {1}:
        raise NotSupported('a transposed convolution with groups, strides or more padding')
    axes = np.arange(2, 2 + len(reach))
    ones = np.ones_like(axes)
    kernel = (np.ascontiguousarray(np.flip(kernel, axes)) if isinstance(kernel, np.ndarray) else
              graph.node('Slice', kernel, -ones, np.iinfo(np.int64).min * ones, axes, -ones))
    kernel = _transposed(graph, kernel, (1, 0, *axes))
    return graph.node('ConvTranspose', x, kernel, strides=list(params['lhs_dilation']), pads=pads,
                      **options)


def _cropped(graph: Graph, x: Value, low: list, high: list) -> tuple[Value, list, list]:
    """Negative padding as a node of its own, and what is left of the padding."""
    if min(*low, *high) >= 0:
        return x, low, high
    pads = [0, 0, *(min(side, 0) for side in low), 0, 0, *(min(side, 0) for side in high)]
    x = graph.node('Pad', x, np.array(pads, np.int64), np.array(0, np.float32))
    return x, *([max(side, 0) for side in sides] for sides in (low, high))


def _pool(operation: str) -> Callable:
    """The rule of a reduction over windows of the two middle axes."""
    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        params = eqn.params
        window, strides = params['window_dimensions'], params['window_strides']
        padding, dilation = params['padding'], params['window_dilation']
        alone = all(values[axis] == 1 for values in (window, strides) for axis in (0, -1))
        if len(window) != 4 or not alone or set(params['base_dilation']) != {1}:
            raise NotSupported('windows of pooling over other axes than rows and columns')
        if operation == 'AveragePool' and set(dilation) != {1}:
            raise NotSupported('sums over dilated windows')
        pads = [side[end] for end in (0, 1) for side in padding[1:3]]
        options = dict(count_include_pad=1) if operation == 'AveragePool' else dict(
            dilations=list(dilation[1:3]))
        y = graph.node(operation, _transposed(graph, x, (0, 3, 1, 2)),
                       kernel_shape=list(window[1:3]), strides=list(strides[1:3]), pads=pads,
                       **options)
        y = _transposed(graph, y, (0, 2, 3, 1))
        if operation == 'AveragePool':
            y = graph.node('Mul', y, np.array(np.prod(window), eqn.outvars[0].aval.dtype))
        return y

    return rule


def _dot_general(graph: Graph, eqn: Any, x: Value, y: Value) -> Value:
    (x_sum, y_sum), (x_batch, y_batch) = eqn.params['dimension_numbers']
    dtype = eqn.outvars[0].aval.dtype
    x, y = (value if variable.aval.dtype == dtype else graph.cast(value, dtype)
            for value, variable in zip((x, y), eqn.invars, strict=True))
    x_rank, y_rank = (variable.aval.ndim for variable in eqn.invars)
    x_free, y_free = ([axis for axis in range(rank) if axis not in (*used, *batch)]
                      for rank, used, batch in ((x_rank, x_sum, x_batch),
                                                (y_rank, y_sum, y_batch)))
    matrices = len(x_sum) == 1 and len(y_free) == 1 and (
        len(x_free) == 1 or not x_batch and len(x_free) >= 1)
    if matrices:
        return graph.node('MatMul', _transposed(graph, x, (*x_batch, *x_free, *x_sum)),
                          _transposed(graph, y, (*y_batch, *y_sum, *y_free)))
    letters = iter(string.ascii_letters)
    x_names = [next(letters) for _ in range(x_rank)]
    y_names = [next(letters) for _ in range(y_rank)]
    for first, second in zip((*x_sum, *x_batch), (*y_sum, *y_batch), strict=True):
        y_names[second] = x_names[first]
    out = [*(x_names[axis] for axis in (*x_batch, *x_free)), *(y_names[axis] for axis in y_free)]
    return graph.node('Einsum', x, y,
                      equation=f'{"".join(x_names)},{"".join(y_names)}->{"".join(out)}')


def _gather(graph: Graph, eqn: Any, x: Value, indices: Value) -> Value:
    """Whole rows at indices along one axis or several, or one block at a position."""
    numbers, sizes = eqn.params['dimension_numbers'], eqn.params['slice_sizes']
    shape, kind = eqn.invars[0].aval.shape, eqn.invars[1].aval
    axes, dropped = numbers.start_index_map, numbers.collapsed_slice_dims
    whole = all(axis in axes or size == side
                for axis, (size, side) in enumerate(zip(sizes, shape, strict=True)))
    if numbers.operand_batching_dims or not whole:
        raise NotSupported('a gather of blocks for each sample')
    if kind.ndim == 1:
        starts = [graph.node('Slice', indices, np.array([i]), np.array([i + 1]))
                  for i in range(len(axes))]
        x = _block(graph, x, shape, dict(zip(axes, starts, strict=True)), sizes)
        return graph.node('Squeeze', x, np.array(dropped, np.int64)) if dropped else x
    if tuple(sorted(axes)) != tuple(dropped) or not all(sizes[axis] == 1 for axis in axes):
        raise NotSupported('a gather of blocks')
    others = [axis for axis in range(len(shape)) if axis not in axes]
    if len(axes) == 1:
        indices = _inside(graph, graph.node('Squeeze', indices, np.array([kind.ndim - 1])),
                          graph.node('Squeeze', graph.shape([shape[axes[0]]]), np.array([0])))
        found = graph.node('Gather', x, indices, axis=axes[0])
        first = axes[0]
    else:
        sides = graph.shape([shape[axis] for axis in axes])
        found = graph.node('GatherND', _transposed(graph, x, (*axes, *others)),
                           _inside(graph, indices, sides))
        first = 0
    # The axes of the indices are now in one place, and may be wanted in others.
    count = kind.ndim - 1
    at = list(range(first, first + count))
    rest = [axis for axis in range(count + len(others)) if axis not in at]
    order, places = [0] * (count + len(others)), numbers.offset_dims
    wanted = [axis for axis in range(len(order)) if axis not in places]
    for source, target in zip((*at, *rest), (*wanted, *places), strict=True):
        order[target] = source
    return _transposed(graph, found, order)


def _inside(graph: Graph, indices: Value, sides: Value) -> Value:
    """Indices as int64, at most the last position and at least the first."""
    last = graph.node('Sub', sides, np.array(1))
    return graph.node('Max', graph.node('Min', graph.cast(indices, np.int64), last), np.array(0))


def _block(graph: Graph, x: Value, shape: Sequence[Any], starts: dict[int, Value],
           sizes: Sequence[Any]) -> Value:
    """The block of `sizes` at the positions (1,) of some axes, moved inside as JAX does."""
    for axis, start in starts.items():
        size = graph.shape([sizes[axis]])
        most = graph.node('Sub', graph.shape([shape[axis]]), size)
        start = graph.node('Max', graph.node('Min', graph.cast(start, np.int64), most),
                           np.array([0]))
        x = graph.node('Slice', x, start, graph.node('Add', start, size), np.array([axis]))
    return x


def _dynamic_slice(graph: Graph, eqn: Any, x: Value, *starts: Value) -> Value:
    shape, sizes = eqn.invars[0].aval.shape, eqn.params['slice_sizes']
    moved = {axis: graph.node('Reshape', start, np.array([1])) for axis, start in enumerate(starts)
             if sizes[axis] != shape[axis]}
    return _block(graph, x, shape, moved, sizes)


RULES: dict[str, Callable] = {
    'conv_general_dilated': _conv_general_dilated, 'dot_general': _dot_general,
    'dynamic_slice': _dynamic_slice, 'gather': _gather,
    'reduce_window_max': _pool('MaxPool'), 'reduce_window_sum': _pool('AveragePool')}
