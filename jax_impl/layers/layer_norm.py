"""Layer normalisation over the last axis. Twin: torch_impl/layers/layer_norm.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.layers.attention import on_a_gpu
from jax_impl.precision import at_least_float32


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis: x (..., H) -> (..., H) (Ba et al. 2016).

    The variance is biased. It is taken after the mean is subtracted, and the mean after the first entry is (which
    changes neither), so a large mean costs no digits. All leading axes are one: XLA tiles a reduction of three axes
    badly where the middle one is odd, as in a text with its CLS token. On a GPU the input of sequences is computed
    apart, not that of one token at a time: what to fuse with a norm takes XLA more time than all else that it compiles.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5, *, rngs: nnx.Rngs):
        self.eps = eps
        self.weight = nnx.Param(jnp.ones(hidden_size, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(hidden_size, jnp.float32))

    def __call__(self, inputs: Float[Array, "*B H"]) -> Float[Array, "*B H"]:
        is_sequence = inputs.shape[-2:-1] != (1,)
        inputs = jax.lax.optimization_barrier(inputs) if is_sequence and on_a_gpu(inputs) else inputs
        x = at_least_float32(inputs).reshape(-1, inputs.shape[-1])
        shifted = x - jax.lax.stop_gradient(x[..., :1])  # exact if the entries are close together
        centred = shifted - shifted.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        normalised = (centred / jnp.sqrt(variance + self.eps)) * self.weight + self.bias
        return normalised.astype(inputs.dtype).reshape(inputs.shape)
