"""Dropout whose mask is a function of (seed, step, layer path), equal in both frameworks.
Twin: jax_impl/dropout.py.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared import rng
from torch_impl.random_bits import random_mask


class Dropout(nn.Dropout):
    """Zero each element with probability `rate` and scale the rest by 1 / (1 - rate); x of any shape.

    With a key (see `seed_dropout`) the mask is shared by both frameworks; without one it is the framework's own.
    """

    def __init__(self, rate: float):
        super().__init__(rate)
        self.rate = rate
        self.key = None

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.key is None:
            return super().forward(x)
        if not self.training or self.rate == 0.0:
            return x
        keep = random_mask(self.key, x.shape, rng.keep_threshold(self.rate), x.device)
        return torch.where(keep, x / (1.0 - self.rate), 0.0)


def seed_dropout(module: nn.Module, key: rng.Key | None, kind: str = "shared") -> None:
    """Give every `Dropout` of `module` its own key, folded from `key` and its path; None: the framework's own masks.

    With `kind` "native" the framework's own masks are drawn too, from a generator that starts at `key`.
    """
    if key is not None and kind == "native":
        seed_native(key)
    shared = key is not None and kind == "shared"
    give_keys(module, layer_keys(module, key) if shared else None)


def seed_native(key: rng.Key) -> None:
    """Start the framework's own generator at `key`."""
    torch.manual_seed(key[0] << 32 | key[1])


def layer_keys(module: nn.Module, key: rng.Key) -> list[rng.Key]:
    """The key of every `Dropout`, in the module's order."""
    return [rng.fold_in_name(key, path) for path, layer in module.named_modules() if isinstance(layer, Dropout)]


def give_keys(module: nn.Module, keys: Sequence[rng.Key] | Int[Tensor, "N 2"] | None) -> None:
    """Give every `Dropout` its key, in the module's order; a tensor holds them on a GPU."""
    layers = [layer for layer in module.modules() if isinstance(layer, Dropout)]
    for number, layer in enumerate(layers):
        layer.key = None if keys is None else keys[number]
