"""Parameters that the torch module calls by Flax's words, such as `scale` or `kernel`, keep Flax's layout."""

import numpy as np

from crosscheck.pairing.renaming import with_parameters
from crosscheck.recording.values import Values
from shared.arrays import Arrays
from shared.weight_rules import LAST_PART, from_canonical


def under_own_names(values: Values, like: Arrays) -> Values:
    """JAX's values with each parameter that `like`, torch's, calls by Flax's word under that name and in that layout.

    A recording holds it under torch's usual word, a kernel transposed.
    """
    alone = [name for name in like if name not in values.parameters and _usual(name) not in like]
    words = {_usual(name): name for name in alone if _usual(name) in values.parameters}
    turned = {usual for usual, name in words.items() if _is_turned(name, values.parameters[usual], like[name])}

    def change(arrays: Arrays, _: bool) -> Arrays:
        arrays = {name: _turned(array) if name in turned else array for name, array in arrays.items()}
        return {words.get(name, name): array for name, array in arrays.items()}

    return with_parameters(values, change) if words else values


def _usual(name: str) -> str:
    owner, dot, last = name.rpartition(".")
    return f"{owner}{dot}{LAST_PART.get(last, last)}"


def _is_turned(name: str, theirs: np.ndarray, ours: np.ndarray) -> bool:
    is_kernel = name.rpartition(".")[2] == "kernel"
    return is_kernel and _turned(theirs).shape == ours.shape


def _turned(array: np.ndarray) -> np.ndarray:
    return from_canonical(("kernel",), array)
