"""Activation functions by the names that configs of pretrained models use.
Twin: torch_impl/layers/pretrained/activations.py.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jax_impl.precision import at_least_float32


def exact_gelu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """x Phi(x) (Hendrycks and Gimpel 2016)."""
    return jax.nn.gelu(x, approximate=False)


def tanh_gelu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Its approximation by tanh, as in GPT-2."""
    return jax.nn.gelu(x, approximate=True)


def fast_gelu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The same with ten digits of sqrt(2 / pi), as transformers has it."""
    return 0.5 * x * (1.0 + jnp.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def quick_gelu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Its approximation by a logistic function, as in CLIP."""
    return x * jax.nn.sigmoid(1.702 * x)


def relu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """max(x, 0)."""
    return jax.nn.relu(x)


def silu(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """x / (1 + exp(-x))."""
    return jax.nn.silu(x)


def tanh(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The hyperbolic tangent."""
    return jnp.tanh(x)


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


def activate(x: Float[Array, "*B"], name: str) -> Float[Array, "*B"]:
    """The named function of each number, in float32 at least."""
    return ACTIVATIONS[name](at_least_float32(x)).astype(x.dtype)
