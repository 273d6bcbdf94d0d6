"""The keys of all dropout layers as one tensor on a GPU, so that a recorded step can be replayed with other keys.

JAX has no twin of this file: its compiled steps fold keys themselves.
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from shared import rng
from torch_impl.dropout import Dropout


def layer_keys(module: nn.Module, key: rng.Key) -> np.ndarray:
    """The key of every `Dropout` in the module's order (N, 2) int64; N is 1 where there is none."""
    keys = [rng.fold_in_name(key, path) for path, layer in module.named_modules() if isinstance(layer, Dropout)]
    return np.array(keys or [key], np.int64)


def give_keys(module: nn.Module, keys: Int[Tensor, "N 2"], kind: str) -> None:
    """`seed_dropout` with the keys of the layers; native masks go on where the framework's generator is."""
    layers = [layer for layer in module.modules() if isinstance(layer, Dropout)]
    for number, layer in enumerate(layers):
        layer.key = None if kind == "native" else keys[number]


def seed_native(key: rng.Key) -> None:
    """Start the framework's own generator at `key`, as `seed_dropout` does."""
    torch.manual_seed(key[0] << 32 | key[1])
