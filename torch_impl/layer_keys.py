"""The keys of all dropout layers as one array, which a compiled step takes as an argument.
Twin: jax_impl/layer_keys.py.
"""

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from shared import rng
from torch_impl.dropout import Dropout, seed_dropout


def layer_keys(module: nn.Module, key: rng.Key, kind: str) -> np.ndarray:
    """The key of every `Dropout` after `seed_dropout`, in the module's order (N, 2) int64; N is 1 if none has one."""
    seed_dropout(module, key, kind)
    return np.array([layer.key for layer in _layers(module)] or [key], np.int64)


def give_keys(module: nn.Module, keys: Int[Tensor, "N 2"], kind: str) -> None:
    """Give every `Dropout` its row of `layer_keys`."""
    for number, layer in enumerate(_layers(module)):
        layer.take_key(keys[number], kind)


def _layers(module: nn.Module) -> list[Dropout]:
    return [layer for layer in module.modules() if isinstance(layer, Dropout)]
