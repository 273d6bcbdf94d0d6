"""Batches of constant shape in a seeded order that both backends share; every example exactly once per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from shared.data.examples import Examples
from shared.errors import IsogradError

PAD = 0
Batch = dict[str, np.ndarray]
INPUTS = ("ids", "mask", "lengths", "source", "source_mask", "targets")  # entries that a model can be called with


def batches(
    examples: Examples,
    batch_size: int,
    *,
    length: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    bucket_lengths: Sequence[int] | None = None,
    start: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of one epoch from number `start` on, in an order that depends only on (seed, epoch).

    B is always `batch_size`: padding rows have weight 0 and no tokens. T = `length`, or with
    `bucket_lengths` the smallest of them (or `length`) that fits every example of the batch.
    ids (B,T) int32, mask (B,T) bool, lengths (B,) int32, labels (B,) int32, weights (B,) float32.
    """
    _check_arguments(examples, batch_size, length, bucket_lengths)
    padded = _padded_lengths(examples, length, bucket_lengths)
    plan = _plan(padded, batch_size, seed, epoch, shuffle)
    if not 0 <= start <= len(plan):
        raise IsogradError(
            f"expected a first batch between 0 and {len(plan)}, got {start}; is this the run's own data?"
        )
    return (_batch(examples, rows, batch_size, int(padded[rows[0]])) for rows in plan[start:])


def number_of_batches(
    examples: Examples, batch_size: int, *, length: int, bucket_lengths: Sequence[int] | None = None
) -> int:
    """The number of batches in an epoch."""
    _check_arguments(examples, batch_size, length, bucket_lengths)
    _, counts = np.unique(_padded_lengths(examples, length, bucket_lengths), return_counts=True)
    return int((-(-counts // batch_size)).sum())


def _check_arguments(examples: Examples, batch_size: int, length: int, buckets: Sequence[int] | None) -> None:
    problems = []
    if batch_size < 1:
        problems.append(f"expected a batch size of at least 1, got {batch_size}")
    longest = int(examples.lengths.max(initial=0))
    if longest > length:
        problems.append(f"expected examples of at most {length} tokens, got one of {longest}; tokenise to {length}")
    if buckets is not None and any(bucket < 1 for bucket in buckets):
        problems.append(f"expected positive bucket lengths, got {tuple(buckets)}")
    if problems:
        raise IsogradError("; ".join(problems))


def _padded_lengths(examples: Examples, length: int, bucket_lengths: Sequence[int] | None) -> np.ndarray:
    buckets = np.array(sorted({bucket for bucket in bucket_lengths or () if bucket < length} | {length}))
    return buckets[np.searchsorted(buckets, examples.lengths)]


def _plan(padded: np.ndarray, batch_size: int, seed: int, epoch: int, shuffle: bool) -> list[np.ndarray]:
    """The examples of each batch: a permutation, grouped by padded length if there are several, groups shuffled."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(padded)) if shuffle else np.arange(len(padded))
    groups = [order[padded[order] == bucket] for bucket in np.unique(padded)]
    plan = [group[first : first + batch_size] for group in groups for first in range(0, len(group), batch_size)]
    if shuffle and len(groups) > 1:
        return [plan[i] for i in random.permutation(len(plan))]
    return plan


def _batch(examples: Examples, rows: np.ndarray, batch_size: int, width: int) -> Batch:
    lengths = np.zeros(batch_size, np.int32)
    lengths[: len(rows)] = examples.offsets[rows + 1] - examples.offsets[rows]
    labels = np.zeros(batch_size, np.int32)
    labels[: len(rows)] = examples.labels[rows]
    mask = np.arange(width) < lengths[:, None]
    ids = np.full((batch_size, width), PAD, np.int32)
    ids[mask] = examples.ids[_positions(examples, rows)]
    weights = (np.arange(batch_size) < len(rows)).astype(np.float32)
    return {"ids": ids, "mask": mask, "lengths": lengths, "labels": labels, "weights": weights}


def _positions(examples: Examples, rows: np.ndarray) -> np.ndarray:
    """The positions of these rows' tokens in the flat array, row after row."""
    starts, ends = examples.offsets[rows], examples.offsets[rows + 1]
    before = np.cumsum(ends - starts) - (ends - starts)  # tokens of the rows before each row
    return np.repeat(starts - before, ends - starts) + np.arange((ends - starts).sum())


SHAPES = {  # name: (dtype, axes)
    "ids": (np.int32, "BT"),
    "mask": (np.bool_, "BT"),
    "lengths": (np.int32, "B"),
    "labels": (np.int32, "B"),
    "weights": (np.float32, "B"),
}


def check_batch(
    batch: Mapping[str, np.ndarray], vocabulary_size: int, sequence_length: int, number_of_classes: int | None = None
) -> None:
    """Raise one IsogradError that lists every problem: names, dtypes, shapes, token ids, labels."""
    missing = [name for name in SHAPES if name not in batch]
    if missing:
        raise IsogradError(f"batch: expected the arrays {', '.join(SHAPES)}, missing {', '.join(missing)}")
    problems = _wrong_shapes(batch, sequence_length)
    if not problems:
        problems += _out_of_range("token id", batch["ids"], vocabulary_size, "the vocabulary has {} tokens")
        limit = number_of_classes if number_of_classes is not None else np.iinfo(np.int32).max
        problems += _out_of_range("label", batch["labels"], limit, "there are {} classes")
    if problems:
        raise IsogradError("batch: " + "; ".join(problems))


def _wrong_shapes(batch: Mapping[str, np.ndarray], sequence_length: int) -> list[str]:
    sizes = dict(zip("BT", np.shape(batch["ids"]), strict=False))
    problems = []
    for name, (dtype, axes) in SHAPES.items():
        array = np.asarray(batch[name])
        fits = array.ndim == len(axes) and all(array.shape[i] == sizes.get(axis) for i, axis in enumerate(axes))
        if array.dtype != dtype or not fits:
            shape = ", ".join(f"{axis}={sizes[axis]}" if axis in sizes else axis for axis in axes)
            problems.append(f"expected {name} {np.dtype(dtype)} ({shape}), got {array.dtype} {array.shape}")
    if sizes.get("T", 0) > sequence_length:
        problems.append(f"expected at most {sequence_length} tokens per row, got {sizes['T']}")
    return problems


def _out_of_range(what: str, array: np.ndarray, limit: int, sentence: str) -> list[str]:
    wrong = np.argwhere((array < 0) | (array >= limit))
    if not len(wrong):
        return []
    where = tuple(map(int, wrong[0]))
    return [
        f"{what} {array[where]} at position {where} is out of range, {sentence.format(limit)} ({len(wrong)} in total)"
    ]
