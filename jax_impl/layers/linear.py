"""Affine map with PyTorch's classic initial values written out. Twin: torch_impl/layers/linear.py."""

import jax
from flax import nnx
from jax import Array
from jaxtyping import Float


class Linear(nnx.Linear):
    """y = x W^T + b for x (..., in_features) -> (..., out_features); W and b drawn from U(-bound, bound).

    `bound` is 1 / sqrt(in_features) unless given.
    """

    def __init__(self, in_features: int, out_features: int, bound: float | None = None, *, rngs: nnx.Rngs):
        bound = in_features**-0.5 if bound is None else bound

        def uniform(key: Array, shape: tuple[int, ...], *options) -> Array:
            return jax.random.uniform(key, shape, *options[:1], minval=-bound, maxval=bound)

        super().__init__(in_features, out_features, kernel_init=uniform, bias_init=uniform, rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        return super().__call__(inputs)
