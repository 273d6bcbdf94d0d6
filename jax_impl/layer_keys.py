"""The keys of all dropout layers as one array, which a compiled step takes as an argument.
Twin: torch_impl/layer_keys.py.
"""

import functools

import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import UInt

from jax_impl.dropout import Dropout
from shared import rng


def layer_keys(module: nnx.Module, key: rng.Key, kind: str) -> np.ndarray:
    """The key of every `Dropout` after `seed_dropout`, in the module's order (N, 2) uint32; N is 1 if there is none."""
    return np.array([rng.fold_in_name(key, name) for name in _names(module)] or [key], np.uint32)


def give_keys(module: nnx.Module, keys: UInt[Array, "N 2"], kind: str) -> None:
    """Give every `Dropout` its row of `layer_keys`."""
    for number, (_, layer) in enumerate(_layers(module)):
        layer.take_key(keys[number], kind)


@functools.lru_cache(maxsize=8)  # a walk takes a millisecond, and every step asks
def _names(module: nnx.Module) -> tuple[str, ...]:
    return tuple(".".join(map(str, path)) for path, _ in _layers(module))


def _layers(module: nnx.Module) -> list[tuple[tuple[str | int, ...], Dropout]]:
    return [(path, layer) for path, layer in nnx.iter_modules(module) if isinstance(layer, Dropout)]
