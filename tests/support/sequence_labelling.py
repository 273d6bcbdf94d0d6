"""A second task, with everything a task needs in one file: a label per digit of a sequence; padding has weight 0."""

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from flax import nnx

import jax_impl
import torch_impl
from jax_impl.dropout import Dropout as JaxDropout
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig
from shared.registry import Twin
from shared.tasks.task import Figure, Scored
from torch_impl.dropout import Dropout as TorchDropout

DIGITS, TAGS, LONGEST = "0123456789", 3, 6
SIZES = {"vocabulary_size": len(DIGITS) + 1, "embedding_size": 7, "hidden_size": 5, "num_tags": TAGS, "dropout": 0.1}
COUNTS = {"train": 48, "validation": 23}
EXPERIMENT = Experiment(
    name="tagging",
    title="A tag for every digit",
    dataset="digits",
    model=ModelConfig("Tagger", {**SIZES, "vocabulary_size": None}, inputs=("ids", "lengths")),
    optimizer=AdamWConfig(learning_rate=0.03),
    batch_size=12,
    length=LONGEST,
    epochs=12,
    evaluate_every=6,
    checkpoint_every=6,
    task="sequence_labelling",
)
TWIN = Twin("Tagger", "models.tagger", {"inputs": "ids", "lengths": "lengths"}, SIZES, task="sequence_labelling")


class TorchTagger(torch.nn.Module):
    """ids (B, T), lengths (B,) -> logits (B, T, tags)."""

    def __init__(self, vocabulary_size: int, embedding_size: int, hidden_size: int, num_tags: int, dropout: float):
        super().__init__()
        self.embedding = torch_impl.Embedding(vocabulary_size, embedding_size)
        self.dropout = TorchDropout(dropout)
        self.gru = torch_impl.BidirectionalGRU(embedding_size, hidden_size)
        self.tags = torch_impl.Linear(2 * hidden_size, num_tags)

    def forward(self, inputs, lengths):
        outputs, _ = self.gru(self.dropout(self.embedding(inputs)), None, lengths)
        return self.tags(outputs)


class JaxTagger(nnx.Module):
    """ids (B, T), lengths (B,) -> logits (B, T, tags)."""

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, num_tags: int, dropout: float, *, rngs
    ):
        self.embedding = jax_impl.Embedding(vocabulary_size, embedding_size, rngs=rngs)
        self.dropout = JaxDropout(dropout, rngs=rngs)
        self.gru = jax_impl.BidirectionalGRU(embedding_size, hidden_size, rngs=rngs)
        self.tags = jax_impl.Linear(2 * hidden_size, num_tags, rngs=rngs)

    def __call__(self, inputs, lengths):
        outputs, _ = self.gru(self.dropout(self.embedding(inputs)), None, lengths)
        return self.tags(outputs)


MODULES = {
    "torch_impl.models.tagger": types.SimpleNamespace(Tagger=TorchTagger),
    "jax_impl.models.tagger": types.SimpleNamespace(Tagger=JaxTagger),
}


@dataclass(frozen=True)
class DigitCodec:
    """A digit is its own id, counted from 1; 0 is padding."""

    origin = "the ten digits"
    fingerprint = DIGITS

    def encode(self, text):
        return [1 + DIGITS.index(digit) for digit in text]

    def decode(self, ids):
        return "".join(DIGITS[number - 1] for number in ids)

    def save(self, path: Path):
        path.write_text(json.dumps(DIGITS))


@dataclass(frozen=True)
class Digits:
    """Random digits; the tag of each is its sum with the one before it, modulo the number of tags."""

    codec = DigitCodec()
    counts = COUNTS
    content = types.SimpleNamespace(origin="random digits", fingerprint="digits 1", source=None)

    def baseline(self, split="validation"):
        return {"error_rate": 1 - 1 / TAGS}

    def epoch(self, experiment, split, number):
        return DigitOrder(experiment, split, number)


@dataclass(frozen=True)
class DigitOrder:
    experiment: Experiment
    split: str
    number: int

    def __len__(self):
        return -(-COUNTS[self.split] // self.experiment.batch_size)

    def start_at(self, batch) -> Iterator[dict[str, np.ndarray]]:
        order = np.arange(COUNTS[self.split])
        if self.split == "train":
            order = np.random.default_rng([self.experiment.seed, self.number]).permutation(order)
        size = self.experiment.batch_size
        return (
            digits_of(order[first : first + size], self.split, size) for first in range(batch * size, len(order), size)
        )


def digits_of(rows, split, batch_size):
    """Rows beyond those given are padding: no tokens, no weight."""
    drawn = np.random.default_rng([7, len(split)])
    ids, lengths = drawn.integers(1, 11, (COUNTS[split], LONGEST)), drawn.integers(1, LONGEST + 1, COUNTS[split])
    ids, lengths = ids[rows], lengths[rows]
    filled = batch_size - len(rows)
    ids, lengths = np.pad(ids, ((0, filled), (0, 0))), np.pad(lengths, (0, filled))
    real = np.arange(LONGEST) < lengths[:, None]
    ids = np.where(real, ids, 0).astype(np.int32)
    return {
        "ids": ids,
        "lengths": lengths.astype(np.int32),
        "labels": ((ids + np.pad(ids, ((0, 0), (1, 0)))[:, :-1]) % TAGS).astype(np.int32),
        "weights": real.astype(np.float32),
    }


class SequenceLabelling:
    """A tag for each token; labels and weights (B, T)."""

    loss, unit, couples_rows, has_folds = "cross_entropy", "tokens", False, False
    figures = (
        Figure("error_rate", "error rate", "E", "{:.1%}", higher_is_better=False),
        Figure("whole_sequences", "whole sequences", "S", "{:.3f}"),
    )

    def load(self, experiment, source, vocabulary=None, report=None):
        arguments = {**experiment.model.arguments, "vocabulary_size": len(DIGITS) + 1}
        return replace(experiment, model=replace(experiment.model, arguments=arguments)), Digits()

    def codec(self, path):
        return DigitCodec()

    def metrics(self, experiment, scored: list[Scored]):
        wrong = [((part.predictions != part.batch["labels"]) & (part.batch["weights"] > 0)) for part in scored]
        tokens = sum(np.count_nonzero(part.batch["weights"]) for part in scored)
        whole = [~each.any(1)[part.batch["lengths"] > 0] for each, part in zip(wrong, scored, strict=True)]
        return {
            "error_rate": float(sum(each.sum() for each in wrong) / tokens),
            "whole_sequences": float(np.concatenate(whole).mean()),
        }

    def example_batch(self, twin, inputs, seed):
        rows = len(inputs["ids"])
        labels = np.random.default_rng(seed).integers(0, TAGS, inputs["ids"].shape).astype(np.int32)
        weights = (np.arange(inputs["ids"].shape[1]) < inputs["lengths"][:, None]).astype(np.float32)
        weights[rows - 1 :] = 0.0
        return {**inputs, "labels": labels, "weights": weights}
