"""Gated recurrent unit that resets its state before the product. Twin: jax_impl/layers/reset_before_gru.py."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torch_impl.layers.linear import Linear


class ResetBeforeGRUCell(nn.Module):
    """One step: x (B, I), h (B, H) -> h' (B, H), with gates stacked [reset | update | candidate], one bias a gate.

    r = s(W_ir x + b_r + W_hr h), z likewise, n = tanh(W_in x + b_n + W_hn (r * h)), h' = (1 - z) * h + z * n
    (Cho et al. 2014). No weights make it a GRUCell, whose reset follows the product.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        bound = hidden_size**-0.5
        self.hidden_size = hidden_size
        self.input_proj = Linear(input_size, 3 * hidden_size, bound=bound)
        self.hidden_gates = nn.Parameter(_uniform((2 * hidden_size, hidden_size), bound))
        self.hidden_candidate = nn.Parameter(_uniform((hidden_size, hidden_size), bound))

    def forward(self, x: Float[Tensor, "B I"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        return self.step(self.input_proj(x), h)

    def step(self, projected: Float[Tensor, "B H3"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """One step from the projected input W_i x + b."""
        x_r, x_z, x_n = projected.chunk(3, dim=-1)
        h_r, h_z = torch.einsum("bh,gh->bg", h, self.hidden_gates).chunk(2, dim=-1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + torch.einsum("bh,gh->bg", r * h, self.hidden_candidate))
        return (1 - z) * h + z * n

    def scan(
        self, inputs: Float[Tensor, "B T I"], h: Float[Tensor, "B H"], valid: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B H"]]:
        """All steps; where `valid` is False the state is kept and the output is zero."""
        outputs = []
        for projected, is_valid in zip(self.input_proj(inputs).unbind(1), valid[..., None].unbind(1), strict=True):
            h = torch.where(is_valid, self.step(projected, h), h)
            outputs.append(torch.where(is_valid, h, 0.0))
        return torch.stack(outputs, dim=1), h


def _uniform(shape: tuple[int, int], bound: float) -> Float[Tensor, "G H"]:
    return torch.empty(shape).uniform_(-bound, bound)
