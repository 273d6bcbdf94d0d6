"""Gated recurrent unit that resets its state before the product. Twin: torch_impl/layers/reset_before_gru.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from jax_impl.layers.linear import Linear


class ResetBeforeGRUCell(nnx.Module):
    """One step: x (B, I), h (B, H) -> h' (B, H), with gates stacked [reset | update | candidate], one bias a gate.

    r = s(W_ir x + b_r + W_hr h), z likewise, n = tanh(W_in x + b_n + W_hn (r * h)), h' = (1 - z) * h + z * n
    (Cho et al. 2014). No weights make it a GRUCell, whose reset follows the product.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rngs: nnx.Rngs):
        bound = hidden_size**-0.5
        self.hidden_size = hidden_size
        self.input_proj = Linear(input_size, 3 * hidden_size, bound=bound, rngs=rngs)
        self.hidden_gates = nnx.Param(_uniform((2 * hidden_size, hidden_size), bound, rngs=rngs))
        self.hidden_candidate = nnx.Param(_uniform((hidden_size, hidden_size), bound, rngs=rngs))

    def __call__(self, x: Float[Array, "B I"], h: Float[Array, "B H"]) -> Float[Array, "B H"]:
        return self.step(self.input_proj(x), h)

    def step(self, projected: Float[Array, "B H3"], h: Float[Array, "B H"]) -> Float[Array, "B H"]:
        """One step from the projected input W_i x + b."""
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z = jnp.split(jnp.einsum("bh,gh->bg", h, self.hidden_gates[...]), 2, axis=-1)
        r = jax.nn.sigmoid(x_r + h_r)
        z = jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + jnp.einsum("bh,gh->bg", r * h, self.hidden_candidate[...]))
        return (1 - z) * h + z * n

    def scan(
        self, inputs: Float[Array, "B T I"], h: Float[Array, "B H"], valid: Bool[Array, "B T"]
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
        """All steps; where `valid` is False the state is kept and the output is zero."""

        def step(h, projected_and_valid):
            projected, is_valid = projected_and_valid
            h = jnp.where(is_valid, self.step(projected, h), h)
            return h, jnp.where(is_valid, h, 0.0)

        steps = (self.input_proj(inputs).swapaxes(0, 1), valid[..., None].swapaxes(0, 1))
        h, outputs = jax.lax.scan(step, h, steps)
        return outputs.swapaxes(0, 1), h


def _uniform(shape: tuple[int, int], bound: float, *, rngs: nnx.Rngs) -> Float[Array, "G H"]:
    return jax.random.uniform(rngs.params(), shape, jnp.float32, minval=-bound, maxval=bound)
