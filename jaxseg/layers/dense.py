"""The product of features and a kernel, with a weight gradient that XLA's CPU compiler multiplies well."""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def matmul_f32(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x W` in the dtype of `x`, summed up in float32: (..., C), (C, features) -> (..., features) float32.

    The gradient of the kernel is `x^T dy` with the leading axes as one. Derived from `x @ W` it would be `(dy^T x)^T`, for
    which XLA on CPU first writes `dy` anew in transposed order: the gradient of a whole minGRU on 90 x 120 positions of 128
    channels took 67 ms instead of 34.
    """
    return jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)


def _forward(x: jax.Array, kernel: jax.Array):
    return matmul_f32(x, kernel), (x, kernel)


def _backward(kept, slope: jax.Array):
    x, kernel = kept
    slope = slope.astype(x.dtype).reshape(-1, slope.shape[-1])
    to_x = jnp.matmul(slope, kernel.astype(x.dtype).T, preferred_element_type=jnp.float32)
    return to_x.astype(x.dtype).reshape(x.shape), weight_gradient(x, slope).astype(kernel.dtype)


def weight_gradient(x: jax.Array, slope: jax.Array) -> jax.Array:
    """`sum_i x_i slope_i^T` over all leading axes: (..., C), (..., features) -> (C, features) float32."""
    x, slope = (part.reshape(-1, part.shape[-1]) for part in (x, slope))
    return lax.dot_general(x, slope, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


matmul_f32.defvjp(_forward, _backward)
