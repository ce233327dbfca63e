"""Rules for operations on every element, on shapes, and over axes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotSupported, Value

# As Python slices backward: the first position is included by an end before all.
BEFORE_ALL = np.iinfo(np.int64).min
SAME = {
    'abs': 'Abs', 'add': 'Add', 'and': 'And', 'ceil': 'Ceil', 'copy': 'Identity', 'cos': 'Cos',
    'copy_p': 'Identity', 'div': 'Div', 'eq': 'Equal', 'erf': 'Erf', 'exp': 'Exp',
    'floor': 'Floor', 'ge': 'GreaterOrEqual', 'gt': 'Greater', 'le': 'LessOrEqual', 'log': 'Log',
    'logistic': 'Sigmoid', 'lt': 'Less', 'max': 'Max', 'min': 'Min', 'mul': 'Mul', 'neg': 'Neg',
    'not': 'Not', 'optimization_barrier': 'Identity', 'or': 'Or', 'pow': 'Pow',
    'reduce_precision': 'Identity', 'sign': 'Sign', 'sin': 'Sin', 'sqrt': 'Sqrt',
    'stop_gradient': 'Identity', 'sub': 'Sub', 'tan': 'Tan', 'tanh': 'Tanh', 'xor': 'Xor'}
REDUCTIONS = {'reduce_max': 'ReduceMax', 'reduce_min': 'ReduceMin', 'reduce_sum': 'ReduceSum',
              'reduce_prod': 'ReduceProd', 'reduce_or': 'ReduceMax', 'reduce_and': 'ReduceMin'}


# What changes nothing as the second input.
NEUTRAL = {'Add': 0, 'Sub': 0, 'Mul': 1, 'Div': 1}


def _same(operation: str) -> Callable:
    """The rule of an operation that ONNX has as it is.

    Operations that change nothing are left out: onnxruntime 1.32 removes them together with their
    constant, even where another node uses it, too.
    """
    def rule(graph: Graph, eqn: Any, *inputs: Value) -> list[Value] | Value:
        if operation == 'Identity':
            return list(inputs)
        if operation in NEUTRAL:
            x, y = inputs
            if _is_single(y, NEUTRAL[operation]) and y.ndim <= eqn.invars[0].aval.ndim:
                return x
            if operation in ('Add', 'Mul') and _is_single(x, NEUTRAL[operation]) and (
                    x.ndim <= eqn.invars[1].aval.ndim):
                return y
        return graph.node(operation, *inputs)

    return rule


def _is_single(value: Value, wanted: float) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1 and value.item() == wanted


def _number(like: Any, value: float) -> np.ndarray:
    """A constant of the dtype of a variable."""
    return np.array(value, like.aval.dtype)


def _reduction(operation: str) -> Callable:
    """The rule of a reduction over axes."""
    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        boolean = eqn.invars[0].aval.dtype == np.bool_
        x = graph.cast(x, np.int32) if boolean else x
        axes = np.array(eqn.params['axes'], np.int64)
        found = graph.node(operation, x, axes, keepdims=0) if axes.size else x
        return graph.cast(found, np.bool_) if boolean else found

    return rule


def _arg(operation: str) -> Callable:
    """The rule of the index of the largest or smallest value."""
    def rule(graph: Graph, eqn: Any, x: Value) -> Value:
        axis, = eqn.params['axes']
        found = graph.node(operation, x, axis=axis, keepdims=0)
        return graph.cast(found, eqn.params['index_dtype'])

    return rule


def _ne(graph, eqn, x, y):
    return graph.node('Not', graph.node('Equal', x, y))


def _rsqrt(graph, eqn, x):
    return graph.node('Reciprocal', graph.node('Sqrt', x))


def _square(graph, eqn, x):
    return graph.node('Mul', x, x)


def _log1p(graph, eqn, x):
    return graph.node('Log', graph.node('Add', x, _number(eqn.invars[0], 1)))


def _expm1(graph, eqn, x):
    return graph.node('Sub', graph.node('Exp', x), _number(eqn.invars[0], 1))


def _erfc(graph, eqn, x):
    return graph.node('Sub', _number(eqn.invars[0], 1), graph.node('Erf', x))


def _exp2(graph, eqn, x):
    return graph.node('Pow', _number(eqn.invars[0], 2), x)


def _rem(graph, eqn, x, y):
    return graph.node('Mod', x, y, fmod=1)


def _integer_pow(graph, eqn, x):
    if eqn.params['y'] == 2:
        return _square(graph, eqn, x)
    return graph.node('Pow', x, _number(eqn.invars[0], eqn.params['y']))


def _clamp(graph, eqn, low, x, high):
    return graph.node('Min', graph.node('Max', x, low), high)


def _select_n(graph, eqn, which, *cases):
    if len(cases) != 2:
        raise NotSupported(f'a choice between {len(cases)} values')
    if eqn.invars[0].aval.dtype != np.bool_:
        which = graph.cast(which, np.bool_)
    return graph.node('Where', which, cases[1], cases[0])


def _is_finite(graph, eqn, x):
    return graph.node('Less', graph.node('Abs', x), _number(eqn.invars[0], np.inf))


def _convert_element_type(graph, eqn, x):
    if eqn.invars[0].aval.dtype == eqn.params['new_dtype']:
        return x
    return graph.cast(x, eqn.params['new_dtype'])


def _dim_as_value(graph, eqn):
    side = graph.shape([eqn.params['dim']])
    return graph.cast(graph.node('Squeeze', side, np.array([0])), eqn.outvars[0].aval.dtype)


def _iota(graph, eqn):
    shape, axis = eqn.params['shape'], eqn.params['dimension']
    length = graph.node('Squeeze', graph.shape([shape[axis]]), np.array([0]))
    found = graph.node('Range', np.array(0), length, np.array(1))
    found = graph.cast(found, eqn.params['dtype'])
    if len(shape) == 1:
        return found
    others = np.array([other for other in range(len(shape)) if other != axis])
    return graph.node('Expand', graph.node('Unsqueeze', found, others), graph.shape(shape))


def _broadcast_in_dim(graph, eqn, x):
    shape, kept = eqn.params['shape'], eqn.params['broadcast_dimensions']
    added = [axis for axis in range(len(shape)) if axis not in kept]
    x = graph.node('Unsqueeze', x, np.array(added)) if added else x
    before = dict(zip(kept, eqn.invars[0].aval.shape, strict=True))
    if all(before.get(axis, 1) == side for axis, side in enumerate(shape)):
        return x
    # Expand leaves a side of 1 as it is where 0 is wanted.
    empty = np.array([axis for axis, side in enumerate(shape)
                      if isinstance(side, int) and side == 0], np.int64)
    x = graph.node('Expand', x, graph.shape([1 if axis in empty else side
                                             for axis, side in enumerate(shape)]))
    return graph.node('Slice', x, 0 * empty, 0 * empty, empty) if len(empty) else x


def _reshape(graph, eqn, x):
    return graph.node('Reshape', x, graph.shape(eqn.params['new_sizes']), allowzero=1)


def _squeeze(graph, eqn, x):
    return graph.node('Squeeze', x, np.array(eqn.params['dimensions'], np.int64))


def _transpose(graph, eqn, x):
    return graph.node('Transpose', x, perm=list(eqn.params['permutation']))


def _concatenate(graph, eqn, *parts):
    return graph.node('Concat', *parts, axis=eqn.params['dimension'])


def _stack(graph, eqn, *parts):
    axis = eqn.params['axis']
    return graph.node('Concat', *(graph.node('Unsqueeze', part, np.array([axis]))
                                  for part in parts), axis=axis)


def _split(graph, eqn, x):
    sizes = eqn.params['sizes']
    found = graph.node('Split', x, graph.shape(sizes), outputs=len(sizes),
                       axis=eqn.params['axis'])
    return found if len(sizes) > 1 else [found]


def _pad(graph, eqn, x, value):
    low, high, interior = zip(*eqn.params['padding_config'], strict=True)
    if any(interior):
        raise NotSupported('zeros between the positions of a map')
    return graph.node('Pad', x, graph.shape((*low, *high)), value)


def _slices(graph, eqn, x):
    starts, limits = eqn.params['start_indices'], eqn.params['limit_indices']
    strides = eqn.params['strides'] or (1,) * len(starts)
    axes = np.arange(len(starts))
    return graph.node('Slice', x, graph.shape(starts), graph.shape(limits), axes,
                      np.array(strides, np.int64))


def _rev(graph, eqn, x):
    axes = np.array(eqn.params['dimensions'], np.int64)
    ones = np.ones_like(axes)
    return graph.node('Slice', x, -ones, BEFORE_ALL * ones, axes, -ones)


def _cumsum(graph, eqn, x):
    return graph.node('CumSum', x, np.array(eqn.params['axis'], np.int64),
                      reverse=int(eqn.params['reverse']))


RULES: dict[str, Callable] = {
    **{name: _same(operation) for name, operation in SAME.items()},
    **{name: _reduction(operation) for name, operation in REDUCTIONS.items()},
    **{rule.__name__[1:]: rule for rule in (
        _ne, _rsqrt, _square, _log1p, _expm1, _exp2, _erfc, _rem, _integer_pow, _clamp, _select_n,
        _is_finite, _convert_element_type, _dim_as_value, _iota, _broadcast_in_dim, _reshape,
        _squeeze, _transpose, _concatenate, _stack, _split, _pad, _rev, _cumsum)},
    'argmax': _arg('ArgMax'), 'argmin': _arg('ArgMin'), 'slice': _slices}
