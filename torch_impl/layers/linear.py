"""Affine map with PyTorch's classic initial values written out. Twin: jax_impl/layers/linear.py."""

from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Linear):
    """y = x W^T + b for x (..., in_features) -> (..., out_features); W and b drawn from U(-bound, bound).

    `bound` is 1 / sqrt(in_features) unless given.
    """

    def __init__(self, in_features: int, out_features: int, bound: float | None = None):
        bound = in_features**-0.5 if bound is None else bound
        super().__init__(in_features, out_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, inputs: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return super().forward(inputs)
