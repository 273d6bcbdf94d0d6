"""Data that needs no file: verbal arithmetic, the sign of every sum and difference of two numbers below twenty."""

from __future__ import annotations

import numpy as np

from shared.data.splits import Reviews

NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
OPERATIONS = {"plus": 1, "minus": -1}
TRAINING_EXAMPLES = 640


def verbal_arithmetic(seed: int) -> dict[str, Reviews]:
    """All 800 expressions, labelled 0 (negative), 1 (zero) or 2 (positive): 640 for training, 160 for testing."""
    rows = [
        (f"{left} {operation} {right}", 1 + int(np.sign(a + sign * b)))
        for a, left in enumerate(NUMBERS)
        for operation, sign in OPERATIONS.items()
        for b, right in enumerate(NUMBERS)
    ]
    every = Reviews(tuple(text for text, _ in rows), tuple(label for _, label in rows))
    order = np.random.default_rng(seed).permutation(len(every))
    return {"train": every.take(order[:TRAINING_EXAMPLES]), "test": every.take(order[TRAINING_EXAMPLES:])}
