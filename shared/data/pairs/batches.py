"""Batches of word pairs: padded to a few shapes, or of equal lengths, in a seeded order that both backends share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.batches import Batch
from shared.data.pairs.letters import END, END_OF_PROMPT, START

MOST_SHAPES = 4
Encoded = Sequence[tuple[list[int], list[int]]]  # ids of each source and target, without marks
EXACT: tuple[int, ...] = ()  # no ladder: every batch holds pairs of equal lengths


def ladder(pairs: Encoded) -> tuple[int, ...]:
    """At most MOST_SHAPES lengths, evenly spaced, the last of which holds every word with its END."""
    needed = [_needed(source, target) for source, target in pairs]
    rungs = np.linspace(min(needed), max(needed), MOST_SHAPES)
    return tuple(sorted({int(np.ceil(rung)) for rung in rungs}))


def generate_tensors_for_training_decoder_nmt(
    source_eop: Sequence[Sequence[int]], target_eos: Sequence[Sequence[int]], start: int, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [start, source, target without its last] and targets [source, target] of a decoder alone, int32 (B, W).

    Sources end with END_OF_PROMPT, targets with END. Rows are joined without a gap and padded with 0 up to `width`.
    """
    rows = [[*source, *target] for source, target in zip(source_eop, target_eos, strict=True)]
    width = max(map(len, rows)) if width is None else width
    return _padded([[start, *row[:-1]] for row in rows], width), _padded(rows, width)


@dataclass(frozen=True)
class PairOrder:
    """The batches of one pass; filler rows have weight 0, an empty source and no target.

    Of an encoder and a decoder: source (B, S), source_mask (B, S), targets (B, T) from START on, labels (B, T) up to
    END, weights (B, T). `joined`, for a decoder alone: ids (B, W) and labels (B, W), with weights on the target.
    """

    pairs: Encoded
    batch_size: int
    lengths: tuple[int, ...]
    seed: int
    number: int
    shuffle: bool
    joined: bool

    def __len__(self) -> int:
        return sum(-(-len(rows) // self.batch_size) for rows in self._buckets().values())

    def start_at(self, batch: int) -> Iterator[Batch]:
        for shape, rows in self._plan()[batch:]:
            pairs = [self.pairs[row] for row in rows]
            filler = self.batch_size - len(rows)
            yield (_joined_batch if self.joined else _batch)(pairs, filler, *shape)

    def _buckets(self) -> dict[tuple[int, int], np.ndarray]:
        """(S, T) -> the rows whose pairs are padded to it, by size."""
        shapes = [self._shape(*pair) for pair in self.pairs]
        found: dict[tuple[int, int], list[int]] = {}
        for row, shape in enumerate(shapes):
            found.setdefault(shape, []).append(row)
        return {shape: np.array(found[shape]) for shape in sorted(found)}

    def _shape(self, source: list[int], target: list[int]) -> tuple[int, int]:
        if self.lengths == EXACT:
            return len(source), len(target) + 1
        length = next(length for length in self.lengths if length >= _needed(source, target))
        return length, length

    def _plan(self) -> list[tuple[tuple[int, int], np.ndarray]]:
        generator = np.random.default_rng([self.seed, self.number])
        plan = []
        for shape, rows in self._buckets().items():
            rows = generator.permutation(rows) if self.shuffle else rows
            plan += [(shape, rows[i : i + self.batch_size]) for i in range(0, len(rows), self.batch_size)]
        return [plan[i] for i in generator.permutation(len(plan))] if self.shuffle else plan


def source_arrays(sources: Sequence[list[int]], width: int) -> Batch:
    """Sources padded on the right, int32 (B, S), and their mask."""
    lengths = np.array([len(source) for source in sources])
    return {"source": _padded(sources, width), "source_mask": np.arange(width) < lengths[:, None]}


def prompts(sources: Sequence[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """What a decoder alone continues: [START, source, END_OF_PROMPT] padded on the right (B, T), and lengths (B,)."""
    rows = [[START, *source, END_OF_PROMPT] for source in sources]
    lengths = np.array([len(row) for row in rows])
    return _padded(rows, int(lengths.max())), lengths


def _batch(pairs: Encoded, filler: int, source_width: int, target_width: int) -> Batch:
    sources = [*(source for source, _ in pairs), *[[]] * filler]
    targets = [*(target for _, target in pairs), *[[]] * filler]
    ends = np.array([*(len(target) + 1 for _, target in pairs), *[0] * filler])
    return {
        **source_arrays(sources, source_width),
        "targets": _padded([[START, *target] for target in targets], target_width),
        "labels": _padded([[*target, END] for target in targets], target_width),
        "weights": (np.arange(target_width) < ends[:, None]).astype(np.float32),
    }


def _joined_batch(pairs: Encoded, filler: int, source_width: int, target_width: int) -> Batch:
    sources = [[*source, END_OF_PROMPT] for source, _ in pairs]
    targets = [[*target, END] for _, target in pairs]
    starts = np.array([*map(len, sources), *[0] * filler])[:, None]
    ends = starts + np.array([*map(len, targets), *[0] * filler])[:, None]
    width = source_width + 1 + target_width
    rows = [*sources, *[[END_OF_PROMPT]] * filler], [*targets, *[[END]] * filler]
    ids, labels = generate_tensors_for_training_decoder_nmt(*rows, START, width)
    places = np.arange(width)
    return {"ids": ids, "labels": labels, "weights": ((places >= starts) & (places < ends)).astype(np.float32)}


def _padded(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    padded = np.zeros((len(rows), width), np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def _needed(source: list[int], target: list[int]) -> int:
    return max(len(source), len(target) + 1)
