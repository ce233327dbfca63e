"""From a jaxpr to an ONNX graph: values, constants, sizes, and one rule for each operation.

A rule is a function `(graph, eqn, *inputs) -> output or outputs` of a primitive of JAX. Values are
names of tensors of the graph, or numpy arrays where they are constant.
"""

import ast
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Value = str | np.ndarray
# What a traced model may ask for, by the names in texts of symbolic sizes.
FUNCTIONS = ('floordiv', 'mod', 'max', 'min')


class NotSupported(NotImplementedError):
    """The model has an operation that ONNX has no counterpart for, or none is written here."""


class Graph:
    """The nodes of a graph or of the body of a loop, which sees the values of its surroundings.

    Args:
      rules: by the name of the primitive.
      parent: the graph that a body is in.
    """

    def __init__(self, rules: Mapping[str, Callable], parent: 'Graph | None' = None):
        self.rules, self.nodes, self.parent = rules, [], parent
        self.root = parent.root if parent else self
        if parent is None:
            self.constants, self.names = {}, itertools.count()
            self.sides: dict[str, Value] = {}

    def new_name(self) -> str:
        """A name that no other value of the file has."""
        return f'v{next(self.root.names)}'

    def node(self, operation: str, *inputs: Value | None, outputs: int = 1, **attributes: Any
             ) -> Any:
        """Adds a node; the name of its output, or a list of several."""
        from onnx import helper

        names = [self.new_name() for _ in range(outputs)]
        inputs = ['' if value is None else self.name_of(value) for value in inputs]
        self.nodes.append(helper.make_node(operation, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def name_of(self, value: Value) -> str:
        """The name of a value; constants are stored once."""
        if isinstance(value, str):
            return value
        key = value.dtype.str, value.shape, value.tobytes() if value.size < 64 else id(value)
        # The array is kept with its name, so that no other one gets its id.
        return self.root.constants.setdefault(key, (self.new_name(), value))[0]

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in another dtype."""
        from onnx import helper

        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        return self.node('Cast', value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def shape(self, sides: Sequence[Any]) -> Value:
        """A vector (n,) int64 of sizes, which may be expressions of symbols."""
        found = [self.side(side) for side in sides]
        if all(isinstance(side, int) for side in found):
            return np.array(found, np.int64)
        parts = [np.array([side], np.int64) if isinstance(side, int) else side for side in found]
        return self.node('Concat', *parts, axis=0) if len(parts) > 1 else parts[0]

    def side(self, side: Any) -> int | str:
        """An integer, or the name of a vector (1,) int64 for an expression of symbols."""
        if isinstance(side, (int, np.integer)):
            return int(side)
        # The text of an expression is what `jax.export.symbolic_shape` reads.
        text = str(side).replace('^', '**').strip()
        return self.root._evaluate(ast.parse(text, mode='eval').body)

    def _evaluate(self, tree: ast.AST) -> int | str:
        key = ast.dump(tree)
        if key in self.sides:
            return self.sides[key]
        match tree:
            case ast.Constant(value=int(value)):
                return value
            case ast.UnaryOp(op=ast.USub()):
                found = self._arithmetic('Mul', -1, self._evaluate(tree.operand))
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
                operation = {ast.Add: 'Add', ast.Sub: 'Sub', ast.Mult: 'Mul'}[type(tree.op)]
                found = self._arithmetic(operation, self._evaluate(tree.left),
                                         self._evaluate(tree.right))
            case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=int(power))):
                found = base = self._evaluate(tree.left)
                for _ in range(power - 1):
                    found = self._arithmetic('Mul', found, base)
            case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in FUNCTIONS:
                found = self._function(name, self._evaluate(left), self._evaluate(right))
            case _:
                raise NotSupported(f'the size {ast.unparse(tree)}')
        self.sides[key] = found
        return found

    def _function(self, name: str, left: int | str, right: int | str) -> int | str:
        if name in ('max', 'min'):
            return self._arithmetic(name.capitalize(), left, right)
        rest = self._arithmetic('Mod', left, right)
        if name == 'mod':
            return rest
        return self._arithmetic('Div', self._arithmetic('Sub', left, rest), right)

    def _arithmetic(self, operation: str, *values: int | str) -> int | str:
        if all(isinstance(value, int) for value in values):
            left, right = values
            return {'Add': left + right, 'Sub': left - right, 'Mul': left * right,
                    'Max': max(values), 'Min': min(values), 'Mod': right and left % right,
                    'Div': right and left // right}[operation]
        return self.node(operation, *(np.array([value], np.int64) if isinstance(value, int)
                                      else value for value in values))

    def name_side(self, name: str, value: str):
        """States the value (1,) int64 of a symbol."""
        self.sides[ast.dump(ast.parse(name, mode='eval').body)] = value

    def run(self, jaxpr: Any, constants: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
        """Adds the operations of a jaxpr; the values of its results."""
        values: dict[Any, Value] = {}

        def read(variable: Any) -> Value:
            literal = hasattr(variable, 'val')
            return np.asarray(variable.val, variable.aval.dtype) if literal else values[variable]

        values.update(zip(jaxpr.constvars, constants, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            if name not in self.rules:
                raise NotSupported(f'{name}, which has no rule')
            found = self.rules[name](self, eqn, *map(read, eqn.invars))
            found = found if isinstance(found, (list, tuple)) else [found]
            values.update(zip(eqn.outvars, found, strict=True))
        return [read(variable) for variable in jaxpr.outvars]
