"""Gated recurrent unit over a batch of sequences. Twin: torch_impl/layers/gru.py."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from jax_impl.layers.fused_gru import Cell, fused_gru
from jax_impl.layers.linear import Linear
from shared.configs.experiment import IMPLEMENTATIONS
from shared.configs.validation import check_choice


class GRUCell(nnx.Module):
    """One step: x (B, I), h (B, H) -> h' (B, H), with gates stacked [reset | update | candidate].

    r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)),
    h' = (1 - z) * n + z * h (Cho et al. 2014, with cuDNN's reset after the product).
    """

    def __init__(self, input_size: int, hidden_size: int, *, rngs: nnx.Rngs):
        self.hidden_size = hidden_size
        self.input_proj = Linear(input_size, 3 * hidden_size, bound=hidden_size**-0.5, rngs=rngs)
        self.hidden_proj = Linear(hidden_size, 3 * hidden_size, bound=hidden_size**-0.5, rngs=rngs)

    def __call__(self, x: Float[Array, "B I"], h: Float[Array, "B H"]) -> Float[Array, "B H"]:
        return self.step(self.input_proj(x), h)

    def step(self, projected: Float[Array, "B H3"], h: Float[Array, "B H"]) -> Float[Array, "B H"]:
        """One step from the projected input W_i x + b_i."""
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(self.hidden_proj(h), 3, axis=-1)
        r = jax.nn.sigmoid(x_r + h_r)
        z = jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * h_n)  # h_n already includes its bias
        return (1 - z) * n + z * h

    def scan(
        self,
        inputs: Float[Array, "B T I"],
        h: Float[Array, "B H"],
        valid: Bool[Array, "B T"],
        reverse: bool = False,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
        """All steps, from the end if `reverse`; where `valid` is False the state is kept and the output is zero."""

        def step(h, projected_and_valid):
            projected, is_valid = projected_and_valid
            h = jnp.where(is_valid, self.step(projected, h), h)
            return h, jnp.where(is_valid, h, 0.0)

        steps = (self.input_proj(inputs).swapaxes(0, 1), valid[..., None].swapaxes(0, 1))
        h, outputs = jax.lax.scan(step, h, steps, reverse=reverse)
        return outputs.swapaxes(0, 1), h


def valid_steps(inputs: Float[Array, "B T I"], lengths: Int[Array, "B"] | None) -> Bool[Array, "B T"]:
    """True for the steps before each example's length; for every step if no lengths are given."""
    batch_size, steps, _ = inputs.shape
    if lengths is None:
        return jnp.ones((batch_size, steps), dtype=bool)
    return jnp.arange(steps) < lengths[:, None]


def _projections(*cells: GRUCell) -> list[Cell]:
    return [(cell.input_proj, cell.hidden_proj) for cell in cells]


class GRU(nnx.Module):
    """GRU of `num_layers` layers: inputs (B, T, I), hidden_states (L, B, H) -> outputs (B, T, H), hidden (L, B, H).

    No initial state means zeros. `lengths` (B,) gives packed semantics: later steps are skipped, their outputs zero.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, implementation: str = "fused", *, rngs: nnx.Rngs
    ):
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.hidden_size = hidden_size
        self.implementation = implementation
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nnx.List([GRUCell(size, hidden_size, rngs=rngs) for size in sizes])

    def __call__(
        self,
        inputs: Float[Array, "B T I"],
        hidden_states: Float[Array, "L B H"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "L B H"]]:
        if hidden_states is None:
            hidden_states = jnp.zeros((len(self.cells), inputs.shape[0], self.hidden_size), inputs.dtype)
        if self.implementation != "reference":
            layers = [_projections(cell) for cell in self.cells]
            return fused_gru(inputs, hidden_states, layers, lengths, self.implementation == "fused")
        valid = valid_steps(inputs, lengths)
        finals = []
        for cell, h in zip(self.cells, hidden_states, strict=True):
            inputs, final = cell.scan(inputs, h, valid)
            finals.append(final)
        return inputs, jnp.stack(finals)


class BidirectionalGRU(nnx.Module):
    """GRU in both directions: inputs (B, T, I), hidden_states (2L, B, H) -> outputs (B, T, 2H), hidden (2L, B, H).

    Outputs are [forward | backward], states layer by layer forward then backward, as in `torch.nn.GRU`.
    No initial state means zeros. `lengths` (B,) gives packed semantics, in both directions.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, implementation: str = "fused", *, rngs: nnx.Rngs
    ):
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.hidden_size = hidden_size
        self.implementation = implementation
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.forward_cells = nnx.List([GRUCell(size, hidden_size, rngs=rngs) for size in sizes])
        self.backward_cells = nnx.List([GRUCell(size, hidden_size, rngs=rngs) for size in sizes])

    def __call__(
        self,
        inputs: Float[Array, "B T I"],
        hidden_states: Float[Array, "L2 B H"] | None = None,
        lengths: Int[Array, "B"] | None = None,
    ) -> tuple[Float[Array, "B T H2"], Float[Array, "L2 B H"]]:
        if hidden_states is None:
            hidden_states = jnp.zeros((2 * len(self.forward_cells), inputs.shape[0], self.hidden_size), inputs.dtype)
        if self.implementation != "reference":
            layers = [_projections(*both) for both in zip(self.forward_cells, self.backward_cells, strict=True)]
            return fused_gru(inputs, hidden_states, layers, lengths, self.implementation == "fused")
        valid = valid_steps(inputs, lengths)
        states = hidden_states
        finals = []
        for layer, (forward_cell, backward_cell) in enumerate(
            zip(self.forward_cells, self.backward_cells, strict=True)
        ):
            ahead, final_ahead = forward_cell.scan(inputs, states[2 * layer], valid)
            back, final_back = backward_cell.scan(inputs, states[2 * layer + 1], valid, reverse=True)
            inputs = jnp.concatenate([ahead, back], axis=-1)
            finals += [final_ahead, final_back]
        return inputs, jnp.stack(finals)
