"""Seeded example inputs of a twin, from the shapes that the registry describes, in every case that means something."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from shared.registry import BATCH, CLASSES, KEYS, STEPS, Twin

Inputs = dict[str, np.ndarray]
Sizes = Mapping[str, Any]


def example_inputs(
    twin: Twin, case: str = "odd_sizes", seed: int = 0, arguments: Mapping[str, Any] | None = None
) -> Inputs:
    """The inputs of one of `cases(twin)`, for other constructor arguments than the registry's if they are given.

    Floats are float64; ids, lengths and labels int64; masks bool. One step has T = 1; one example has B = 1 and
    nothing that may be left out.
    """
    own = twin.arguments if arguments is None else arguments
    batch = 1 if case == "one_example" else BATCH
    steps = 1 if case == "one_step" else min(STEPS, own.get("sequence_length", STEPS))
    sizes = {"num_layers": 1, "num_classes": CLASSES, **own, "B": batch, "T": steps, "S": KEYS}
    return CASES[case](twin, _draw(twin.inputs, sizes, np.random.default_rng(seed)))


def cases(twin: Twin) -> list[str]:
    """The names of the cases that mean something for a twin; a variant shares all but its own branch with the twin."""
    if twin.name != twin.public_name:
        return ["odd_sizes"]
    applies = {
        "one_step": bool(twin.inputs),
        "one_example": bool(twin.inputs),
        "masked_row": "mask" in twin.inputs.values(),
        "mean_5000": twin.large_mean,
    }
    return ["odd_sizes", *(case for case, does in applies.items() if does)]


def _draw(described: Mapping[str, str], sizes: Sizes, generator: np.random.Generator) -> Inputs:
    lengths = generator.integers(1, sizes["T"] + 1, sizes["B"])
    lengths[-1] = sizes["T"] if sizes["B"] > 1 else (sizes["T"] + 1) // 2  # an only example has padding too
    mask = np.arange(sizes["T"]) < lengths[:, None]
    makers = {
        "ids": lambda: np.where(mask, generator.integers(1, sizes["vocabulary_size"], mask.shape), 0),
        "mask": lambda: mask,
        "lengths": lambda: lengths,
        "causal mask": lambda: np.tri(sizes["T"], dtype=bool),
        "labels": lambda: generator.integers(0, sizes["num_classes"], sizes["B"]),
        "weights": lambda: (np.arange(sizes["B"]) % 2 == 0).astype(np.float64),  # 0: only fills the batch
    }
    return {
        name: makers[text]() if text in makers else generator.standard_normal(_shape(text, sizes))
        for name, text in described.items()
    }


def _shape(text: str, sizes: Sizes) -> tuple[int, ...]:
    """`2*num_layers B 21`: an axis is a product of sizes by name and of numbers."""
    return tuple(prod(int(sizes.get(part, part)) for part in axis.split("*")) for axis in text.split())


def _as_they_are(twin: Twin, inputs: Inputs) -> Inputs:
    return inputs


def _masked_row(twin: Twin, inputs: Inputs) -> Inputs:
    inputs["mask"][0] = False  # one example is padding throughout
    return inputs


def _required_only(twin: Twin, inputs: Inputs) -> Inputs:
    return {name: array for name, array in inputs.items() if name not in twin.optional}


def _mean_5000(twin: Twin, inputs: Inputs) -> Inputs:
    return {name: array + 5000.0 for name, array in inputs.items()}


CASES: dict[str, Callable[[Twin, Inputs], Inputs]] = {
    "odd_sizes": _as_they_are,
    "one_step": _as_they_are,
    "one_example": _required_only,
    "masked_row": _masked_row,
    "mean_5000": _mean_5000,
}
