"""Dropout whose mask is a function of (seed, step, layer path), equal in both frameworks.
Twin: jax_impl/dropout.py.
"""

import torch
from jaxtyping import Float
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
        self.native = False

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.key is None or self.native:
            return super().forward(x)
        if not self.training or self.rate == 0.0:
            return x
        keep = random_mask(self.key, x.shape, rng.keep_threshold(self.rate), x.device)
        return torch.where(keep, x / (1.0 - self.rate), 0.0)

    def take_key(self, key: rng.Key | Tensor, kind: str) -> None:
        """Draw the masks of this key; with `kind` "native" they come from the framework's generator, where it is."""
        self.key, self.native = key, kind == "native"


def seed_dropout(module: nn.Module, key: rng.Key | None, kind: str = "shared") -> None:
    """Give every `Dropout` of `module` its own key, folded from `key` and its path; None: the framework's own masks.

    With `kind` "native" the framework's own masks are drawn too, from a generator that starts at `key`.
    """
    if key is not None and kind == "native":
        torch.manual_seed(key[0] << 32 | key[1])
    for path, layer in module.named_modules():
        if isinstance(layer, Dropout):
            layer.key = None
            if key is not None:
                layer.take_key(rng.fold_in_name(key, path), kind)
