"""Seeded example inputs for a twin, from the shapes in the registry, in every case that makes sense."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from shared.registry import BATCH, CLASSES, KEYS, STEPS, Twin

Inputs = dict[str, np.ndarray]
Sizes = Mapping[str, Any]
LARGE = 1000.0  # its exponential overflows
FAR = 100.0  # scores and gates this many times as large saturate


def example_inputs(
    twin: Twin, case: str = "odd_sizes", seed: int = 0, arguments: Mapping[str, Any] | None = None
) -> Inputs:
    """The inputs of one of `cases(twin)`, for different constructor arguments than the registry's if given.

    Floats are float64; ids, lengths and labels int64; masks bool, but 1 and 0 in int64 for masked_row, and multiples of
    1/4 of either sign for fractional_mask. One step has T = 1; one example has B = 1 and no optional inputs.
    """
    own = twin.arguments if arguments is None else arguments
    batch = 1 if case == "one_example" else BATCH
    steps = 1 if case == "one_step" else min(STEPS, own.get("sequence_length", STEPS))
    sizes = {"num_layers": 1, "num_classes": CLASSES, **own, "B": batch, "T": steps, "S": KEYS}
    return CASES[case](twin, _draw(twin.inputs, sizes, np.random.default_rng(seed)))


def cases(twin: Twin) -> list[str]:
    """The names of the cases that make sense for a twin; a variant shares all but its own branch with the twin.

    A fused variant shares nothing.
    """
    if twin.name != twin.public_name and not twin.name.endswith(":fused"):
        return ["odd_sizes"]
    kinds = set(twin.inputs.values())
    applies = {
        "one_step": bool(twin.inputs),
        "one_example": bool(twin.inputs),
        "masked_row": "mask" in kinds,
        "fractional_mask": bool(kinds & {"mask", "causal mask"}),
        "length_0": "lengths" in kinds,
        "no_real_row": "weights" in kinds,
    }
    return ["odd_sizes", *(case for case, does in applies.items() if does), *twin.also]


def _draw(described: Mapping[str, str], sizes: Sizes, generator: np.random.Generator) -> Inputs:
    lengths = generator.integers(1, sizes["T"] + 1, sizes["B"])
    lengths[-1] = sizes["T"] if sizes["B"] > 1 else (sizes["T"] + 1) // 2  # a single example has padding too
    mask, rows = np.arange(sizes["T"]) < lengths[:, None], np.arange(sizes["B"])
    of_source = np.arange(sizes["S"]) < sizes["S"] - 2 * rows[:, None]  # 13, 11, 9, ... letters
    makers = {
        "ids": lambda: np.where(mask, generator.integers(1, sizes["vocabulary_size"], mask.shape), 0),
        "mask": lambda: mask,
        "lengths": lambda: lengths,
        "causal mask": lambda: np.tri(sizes["T"], dtype=bool),
        "source ids": lambda: np.where(of_source, generator.integers(0, sizes["vocabulary_size"], of_source.shape), 0),
        "source mask": lambda: of_source,
        "labels": lambda: generator.permutation(rows % sizes["num_classes"]),  # every class if there are enough rows
        "weights": lambda: np.where(rows % 2 == 0, 2 / (2 + rows), 0.0),  # 1, 0, 1/2, 0, ...; 0: padding
        "positions": lambda: np.arange(sizes["T"])[None],
        "token types": lambda: generator.integers(0, max(1, sizes["token_types"]), mask.shape),
        "token labels": lambda: generator.integers(0, sizes["num_classes"], mask.shape),
        "token weights": lambda: mask / (1 + rows[:, None]),  # padding has no weight
    }

    def make(text: str) -> np.ndarray:
        if text in makers:
            return makers[text]()
        kind, _, axes = text.partition(" ")
        if kind == "visible":
            return generator.random(_shape(axes, sizes)) < 0.5
        return generator.standard_normal(_shape(text, sizes))

    return {name: make(text) for name, text in described.items()}


def _shape(text: str, sizes: Sizes) -> tuple[int, ...]:
    """`2*num_layers B 21`: an axis is a product of sizes by name and of numbers."""
    return tuple(prod(int(sizes.get(part, part)) for part in axis.split("*")) for axis in text.split())


def _as_they_are(twin: Twin, inputs: Inputs) -> Inputs:
    return inputs


def _masked_row(twin: Twin, inputs: Inputs) -> Inputs:
    inputs["mask"] = inputs["mask"].astype(np.int64)  # as tokenizers return it
    inputs["mask"][0] = 0  # one example is all padding
    return inputs


def _fractional_mask(twin: Twin, inputs: Inputs) -> Inputs:
    numbers = np.arange(inputs["mask"].size).reshape(inputs["mask"].shape)
    fractions = (1 - numbers % 4 / 4) * (-1) ** numbers  # 1, -3/4, 1/2, -1/4: what is not 0 is seen
    return inputs | {"mask": inputs["mask"] * fractions}


def _length_0(twin: Twin, inputs: Inputs) -> Inputs:
    inputs["lengths"][0] = 0  # one example has no steps
    return inputs


def _no_real_row(twin: Twin, inputs: Inputs) -> Inputs:
    inputs["weights"] = np.zeros_like(inputs["weights"])  # the batch is all padding
    return inputs


def _required_only(twin: Twin, inputs: Inputs) -> Inputs:
    return {name: array for name, array in inputs.items() if name not in twin.optional}


def _floats(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Twin, Inputs], Inputs]:
    """The case whose float arrays are changed."""
    return lambda twin, inputs: {
        name: change(array) if array.dtype.kind == "f" else array for name, array in inputs.items()
    }


def _far_every_other_row(array: np.ndarray) -> np.ndarray:
    """The rows between keep gradients that are not the rest of a cancellation."""
    return np.where(np.indices(array.shape)[0] % 2, array * FAR, array)


CASES: dict[str, Callable[[Twin, Inputs], Inputs]] = {
    "odd_sizes": _as_they_are,
    "one_step": _as_they_are,
    "one_example": _required_only,
    "masked_row": _masked_row,
    "fractional_mask": _fractional_mask,
    "length_0": _length_0,
    "no_real_row": _no_real_row,
    "large_scores": _floats(lambda array: array + LARGE),
    "far_scores": _floats(_far_every_other_row),
    "mean_5000": _floats(lambda array: array + 5000.0),
    "equal_entries": _floats(lambda array: np.broadcast_to(array[..., :1], array.shape).copy()),
}
