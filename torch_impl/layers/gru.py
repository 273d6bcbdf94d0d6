"""Gated recurrent unit over a batch of sequences. Twin: jax_impl/layers/gru.py."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.configs.experiment import IMPLEMENTATIONS
from shared.configs.validation import check_choice
from torch_impl.layers.fused_gru import Cell, fused_gru
from torch_impl.layers.linear import Linear


class GRUCell(nn.Module):
    """One step: x (B, I), h (B, H) -> h' (B, H), with gates stacked [reset | update | candidate].

    r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)),
    h' = (1 - z) * n + z * h (Cho et al. 2014, with cuDNN's reset after the product).
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.hidden_size = hidden_size
        self.input_proj = Linear(input_size, 3 * hidden_size, bound=hidden_size**-0.5)
        self.hidden_proj = Linear(hidden_size, 3 * hidden_size, bound=hidden_size**-0.5)

    def forward(self, x: Float[Tensor, "B I"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        return self.step(self.input_proj(x), h)

    def step(self, projected: Float[Tensor, "B H3"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """One step from the projected input W_i x + b_i."""
        x_r, x_z, x_n = projected.chunk(3, dim=-1)
        h_r, h_z, h_n = self.hidden_proj(h).chunk(3, dim=-1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)  # h_n already includes its bias
        return (1 - z) * n + z * h

    def scan(
        self,
        inputs: Float[Tensor, "B T I"],
        h: Float[Tensor, "B H"],
        valid: Bool[Tensor, "B T"],
        reverse: bool = False,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B H"]]:
        """All steps, from the end if `reverse`; where `valid` is False the state is kept and the output is zero."""
        steps = list(zip(self.input_proj(inputs).unbind(1), valid[..., None].unbind(1), strict=True))
        outputs = []
        for projected, is_valid in reversed(steps) if reverse else steps:
            h = torch.where(is_valid, self.step(projected, h), h)
            outputs.append(torch.where(is_valid, h, 0.0))
        return torch.stack(outputs[::-1] if reverse else outputs, dim=1), h


def valid_steps(inputs: Float[Tensor, "B T I"], lengths: Int[Tensor, "B"] | None) -> Bool[Tensor, "B T"]:
    """True for the steps before each example's length; for every step if no lengths are given."""
    batch_size, steps, _ = inputs.shape
    if lengths is None:
        return torch.ones(batch_size, steps, dtype=torch.bool, device=inputs.device)
    return torch.arange(steps, device=inputs.device) < lengths[:, None]


def _projections(*cells: GRUCell) -> list[Cell]:
    return [(cell.input_proj, cell.hidden_proj) for cell in cells]


class GRU(nn.Module):
    """GRU of `num_layers` layers: inputs (B, T, I), hidden_states (L, B, H) -> outputs (B, T, H), hidden (L, B, H).

    No initial state means zeros. `lengths` (B,) gives packed semantics: later steps are skipped, their outputs zero.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, implementation: str = "fused"):
        super().__init__()
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.hidden_size = hidden_size
        self.implementation = implementation
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList([GRUCell(size, hidden_size) for size in sizes])

    def forward(
        self,
        inputs: Float[Tensor, "B T I"],
        hidden_states: Float[Tensor, "L B H"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "L B H"]]:
        if hidden_states is None:
            hidden_states = inputs.new_zeros(len(self.cells), inputs.shape[0], self.hidden_size)
        if self.implementation != "reference":
            layers = [_projections(cell) for cell in self.cells]
            return fused_gru(inputs, hidden_states, layers, lengths, self.implementation == "fused")
        valid = valid_steps(inputs, lengths)
        finals = []
        for cell, h in zip(self.cells, hidden_states.unbind(0), strict=True):
            inputs, final = cell.scan(inputs, h, valid)
            finals.append(final)
        return inputs, torch.stack(finals)


class BidirectionalGRU(nn.Module):
    """GRU in both directions: inputs (B, T, I), hidden_states (2L, B, H) -> outputs (B, T, 2H), hidden (2L, B, H).

    Outputs are [forward | backward], states layer by layer forward then backward, as in `torch.nn.GRU`.
    No initial state means zeros. `lengths` (B,) gives packed semantics, in both directions.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, implementation: str = "fused"):
        super().__init__()
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.hidden_size = hidden_size
        self.implementation = implementation
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.forward_cells = nn.ModuleList([GRUCell(size, hidden_size) for size in sizes])
        self.backward_cells = nn.ModuleList([GRUCell(size, hidden_size) for size in sizes])

    def forward(
        self,
        inputs: Float[Tensor, "B T I"],
        hidden_states: Float[Tensor, "L2 B H"] | None = None,
        lengths: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B T H2"], Float[Tensor, "L2 B H"]]:
        if hidden_states is None:
            hidden_states = inputs.new_zeros(2 * len(self.forward_cells), inputs.shape[0], self.hidden_size)
        if self.implementation != "reference":
            layers = [_projections(*both) for both in zip(self.forward_cells, self.backward_cells, strict=True)]
            return fused_gru(inputs, hidden_states, layers, lengths, self.implementation == "fused")
        valid = valid_steps(inputs, lengths)
        states = hidden_states.unbind(0)
        finals = []
        for layer, (forward_cell, backward_cell) in enumerate(
            zip(self.forward_cells, self.backward_cells, strict=True)
        ):
            ahead, final_ahead = forward_cell.scan(inputs, states[2 * layer], valid)
            back, final_back = backward_cell.scan(inputs, states[2 * layer + 1], valid, reverse=True)
            inputs = torch.cat([ahead, back], dim=-1)
            finals += [final_ahead, final_back]
        return inputs, torch.stack(finals)
