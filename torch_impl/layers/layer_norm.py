"""Layer normalisation over the last axis. Twin: jax_impl/layers/layer_norm.py."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_impl.precision import at_least_float32


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis: x (..., H) -> (..., H) (Ba et al. 2016).

    The variance is biased. It is taken after the mean is subtracted, and the mean after the first entry is (which
    changes neither), so a large mean costs no digits.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, inputs: Float[Tensor, "*B H"]) -> Float[Tensor, "*B H"]:
        x = at_least_float32(inputs)
        shifted = x - x[..., :1].detach()  # exact if the entries are close together
        centred = shifted - shifted.mean(dim=-1, keepdim=True)
        variance = (centred**2).mean(dim=-1, keepdim=True)
        return ((centred / torch.sqrt(variance + self.eps)) * self.weight + self.bias).to(inputs.dtype)
