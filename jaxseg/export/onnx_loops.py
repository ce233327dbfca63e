"""Rules for functions within functions: those that are written out in place, and loops."""

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotSupported, Value

INLINED = ('jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call',
           'custom_vjp_call_jaxpr', 'checkpoint', 'remat', 'remat2')
# How ONNX counts steps.
NUMBER = types.SimpleNamespace(shape=(), dtype=np.int64)
JAXPRS = ('jaxpr', 'call_jaxpr', 'fun_jaxpr')


def _inline(graph: Graph, eqn: Any, *inputs: Value) -> list[Value]:
    closed = next(eqn.params[name] for name in JAXPRS if name in eqn.params)
    jaxpr = getattr(closed, 'jaxpr', closed)
    return graph.run(jaxpr, [np.asarray(value) for value in getattr(closed, 'consts', ())], inputs)


def _scan(graph: Graph, eqn: Any, *inputs: Value) -> list[Value] | Value:
    """A loop over the first axis of arrays, with a state."""
    params = eqn.params
    constants, states = params['num_consts'], params['num_carry']
    closed, outer = params['jaxpr'], inputs[:constants]
    arrays = list(inputs[constants + states:])
    variables = list(closed.jaxpr.invars[constants:])
    body = Graph(graph.rules, graph)
    names, kinds = [body.new_name() for _ in variables], [each.aval for each in variables]
    found = body.run(closed.jaxpr, [np.asarray(value) for value in closed.consts],
                     [*outer, *names])
    if not arrays:  # ONNX counts the steps by an array
        length = graph.node('Squeeze', graph.shape([params['length']]), np.array([0]))
        arrays = [graph.node('Range', np.array(0), length, np.array(1))]
        names, kinds = [*names, body.new_name()], [*kinds, NUMBER]
    backward, stacked = [int(params['reverse'])], len(found) - states
    directions = {'scan_output_directions': backward * stacked} if stacked else {}
    return graph.node(
        'Scan', *inputs[constants:constants + states], *arrays, outputs=len(found),
        body=_as_body(body, names, kinds, found, closed.jaxpr.outvars),
        num_scan_inputs=len(arrays), scan_input_directions=backward * len(arrays), **directions)


def _while(graph: Graph, eqn: Any, *inputs: Value) -> list[Value] | Value:
    """A loop that goes on as long as a condition holds."""
    params = eqn.params
    first, second = params['cond_nconsts'], params['body_nconsts']
    of_condition, of_body = inputs[:first], inputs[first:first + second]
    states = inputs[first + second:]
    test, step = params['cond_jaxpr'], params['body_jaxpr']

    def holds(where: Graph, values: Sequence[Value]) -> Value:
        found, = where.run(test.jaxpr, [np.asarray(value) for value in test.consts],
                           [*of_condition, *values])
        return found

    body = Graph(graph.rules, graph)
    variables = step.jaxpr.invars[second:]
    names = [body.new_name() for _ in range(2 + len(variables))]
    found = body.run(step.jaxpr, [np.asarray(value) for value in step.consts],
                     [*of_body, *names[2:]])
    kinds = [NUMBER, test.jaxpr.outvars[0].aval, *(each.aval for each in variables)]
    outputs = [holds(body, found), *found]
    condition = holds(graph, states)
    return graph.node('Loop', None, condition, *states, outputs=len(states),
                      body=_as_body(body, names, kinds, outputs,
                                    [test.jaxpr.outvars[0], *step.jaxpr.outvars]))


def _as_body(body: Graph, names: Sequence[str], kinds: Sequence[Any], found: Sequence[Value],
             variables: Sequence[Any]) -> Any:
    """The graph proto of a loop's body."""
    from onnx import helper

    # What leaves a body must be made by a node in it.
    outputs = [body.node('Identity', value) for value in found]
    infos = [[helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)),
        [side if isinstance(side, int) else None for side in kind.shape]) for name, kind in pairs]
        for pairs in (zip(names, kinds, strict=True),
                      zip(outputs, (each.aval for each in variables), strict=True))]
    return helper.make_graph(body.nodes, body.new_name(), *infos)


def _cond(graph: Graph, eqn: Any, which: Value, *inputs: Value) -> list[Value] | Value:
    """A choice between two functions."""
    branches = eqn.params['branches']
    if len(branches) != 2:
        raise NotSupported(f'a choice between {len(branches)} functions')
    bodies = []
    for branch in branches:
        body = Graph(graph.rules, graph)
        found = body.run(branch.jaxpr, [np.asarray(value) for value in branch.consts], inputs)
        bodies.append(_as_body(body, [], [], found, branch.jaxpr.outvars))
    return graph.node('If', graph.cast(which, np.bool_), outputs=len(eqn.outvars),
                      then_branch=bodies[1], else_branch=bodies[0])


RULES: dict[str, Callable] = {**dict.fromkeys(INLINED, _inline), 'scan': _scan, 'while': _while,
                              'cond': _cond}
