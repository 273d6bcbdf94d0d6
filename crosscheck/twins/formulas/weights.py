"""What a formula reads: the weights of one module by short names, and its dropout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from shared import rng


@dataclass(frozen=True)
class Weights:
    """The weights below `path`; without a key dropout is the identity, as in eval mode."""

    tensors: Mapping[str, Tensor]
    key: rng.Key | None = None
    path: str = ""

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self.path + name]

    def of(self, name: str) -> "Weights":
        """The weights of a submodule."""
        return replace(self, path=f"{self.path}{name}.")

    def linear(self, name: str, x: Tensor) -> Tensor:
        """x W^T + b."""
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def dropout(self, name: str, x: Tensor, rate: float) -> Tensor:
        """x / (1 - rate) where a uniform number of the layer's own stream is below 1 - rate, else 0."""
        if self.key is None or rate == 0.0:
            return x
        bits = rng.random_bits(rng.fold_in_name(self.key, self.path + name), x.numel())
        uniform = ((bits >> 9) | 0x3F800000).view(np.float32) - np.float32(1)
        return x * torch.from_numpy((uniform < np.float32(1 - rate)).reshape(x.shape)) / (1 - rate)
