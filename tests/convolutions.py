"""XLA's own convolution and its gradients, for comparison, and the convolutions of a program."""

import functools

import jax
import numpy as np
from jax import lax

from tests.variables import random

LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def reference(x, kernel, *, padding, strides=(1, 1), dilation=(1, 1), groups=1):
    """XLA's convolution with XLA's gradients."""
    return lax.conv_general_dilated(x, kernel, strides, padding, rhs_dilation=dilation,
                                    dimension_numbers=LAYOUT, feature_group_count=groups)


def assert_equal_vjps(function, expected, *arguments):
    cotangent = random(*jax.eval_shape(expected, *arguments).shape, seed=2)

    @jax.jit
    def both(cotangent, *arguments):
        results = [jax.vjp(each, *arguments) for each in (function, expected)]
        return [(out, vjp_fn(cotangent)) for out, vjp_fn in results]

    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4),
                 *both(cotangent, *arguments))


def equations_of(jaxpr, primitive):
    """The equations of a primitive in a program and in all programs inside of it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == primitive:
            yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from equations_of(getattr(inner, 'jaxpr', inner), primitive)


def convolutions_of(jaxpr):
    """The convolutions in it, as equations."""
    return equations_of(jaxpr, 'conv_general_dilated')


def _is_jaxpr(value):
    return hasattr(value, 'eqns') or hasattr(value, 'jaxpr')
