"""Activation functions by the names that configs of pretrained models use.
Twin: jax_impl/layers/pretrained/activations.py.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from torch_impl.precision import at_least_float32


def exact_gelu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """x Phi(x) (Hendrycks and Gimpel 2016)."""
    return F.gelu(x, approximate="none")


def tanh_gelu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Its approximation by tanh, as in GPT-2."""
    return F.gelu(x, approximate="tanh")


def fast_gelu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """The same with ten digits of sqrt(2 / pi), as transformers has it."""
    return 0.5 * x * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def quick_gelu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Its approximation by a logistic function, as in CLIP."""
    return x * torch.sigmoid(1.702 * x)


def relu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """max(x, 0)."""
    return F.relu(x)


def silu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """x / (1 + exp(-x))."""
    return F.silu(x)


def tanh(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """The hyperbolic tangent."""
    return torch.tanh(x)


ACTIVATIONS = {
    "gelu": exact_gelu,
    "gelu_python": exact_gelu,
    "gelu_new": tanh_gelu,
    "gelu_fast": fast_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "silu": silu,
    "swish": silu,
    "tanh": tanh,
}


def activate(x: Float[Tensor, "*B"], name: str) -> Float[Tensor, "*B"]:
    """The named function of each number, in float32 at least."""
    return ACTIVATIONS[name](at_least_float32(x)).to(x.dtype)
