"""Matrix products with float32 results."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.layers.dense import matmul_f32
from tests.variables import random


def test_matmul_f32_has_the_gradients_of_a_matrix_product():
    x, kernel, weights = random(2, 3, 4), random(4, 5, seed=1), random(2, 3, 5, seed=2)

    def gradient(matmul, dtype):
        return jax.grad(lambda x, kernel: jnp.sum(matmul(x, kernel) * weights), (0, 1))(
            x.astype(dtype), kernel)

    for dtype, tolerance in ((np.float32, 1e-6), (jnp.bfloat16, 2e-2)):
        plain = gradient(lambda x, kernel: x.astype(np.float32) @ kernel, dtype)
        for one, other in zip(gradient(matmul_f32, dtype), plain, strict=True):
            assert one.dtype == other.dtype
            one, other = one.astype(np.float32), other.astype(np.float32)
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
