"""LayerNorm in JAX hands XLA the rows of a matrix, whatever the axes of its input."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jax_impl.layers.layer_norm import LayerNorm


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 3, 5, 4)], ids=str)
def test_every_sum_in_a_layer_norm_and_in_its_gradient_is_over_a_matrix_at_most(shape):
    graph, weights = nnx.split(LayerNorm(shape[-1], rngs=nnx.Rngs(0)))

    def run(weights, x, cotangent):
        outputs, pull = jax.vjp(lambda *both: nnx.merge(graph, both[0])(both[1]), weights, x)
        return outputs, pull(cotangent)

    x = jnp.ones(shape)
    sums = [each for each in jax.make_jaxpr(run)(weights, x, x).eqns if each.primitive.name == "reduce_sum"]
    assert sums
    assert all(each.invars[0].aval.ndim <= 2 for each in sums)
