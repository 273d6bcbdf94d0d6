"""Language modelling: the next token of every token of a text; perplexity and bits per byte."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.configs.experiment import Experiment
from shared.data.batches import Batch
from shared.data.corpora import CORPORA, Texts, load_corpus
from shared.data.stages import Report, silent
from shared.data.text_codec import TextCodec
from shared.errors import IsogradError
from shared.registry import Twin
from shared.tasks.task import Figure, Scored


@dataclass(frozen=True)
class Tokens:
    """The token ids of the training and of the validation text, int32."""

    texts: Texts
    codec: TextCodec
    splits: dict[str, np.ndarray]

    @property
    def origin(self) -> str:
        return self.texts.origin

    @property
    def fingerprint(self) -> str:
        return self.texts.fingerprint

    @property
    def source(self) -> str | None:
        return self.texts.source

    @property
    def counts(self) -> dict[str, int]:
        """Of tokens that have one before them, which predicts them."""
        return {split: len(ids) - 1 for split, ids in self.splits.items()}

    @property
    def baseline(self) -> dict[str, float]:
        """What the frequencies of the training tokens, each counted once more, give on the validation text."""
        counts = 1 + np.bincount(self.splits["train"], minlength=self.codec.vocabulary_size)
        labels = self.splits["validation"][1:]
        losses = np.log(counts.sum()) - np.log(counts[labels])
        return _figures(losses.sum(), len(labels), self.codec.bytes_of_tokens[labels].sum())

    def epoch(self, experiment: Experiment, split: str, number: int) -> "Windows":
        return Windows(experiment, self.splits[split], self.codec.bytes_of_tokens, number, split == "train")


@dataclass(frozen=True)
class Windows:
    """Windows of `length` tokens, side by side. For training they are shuffled and begin at a place of their epoch's
    own; for validation they hold every token, the last one being filled with positions of weight 0.
    """

    experiment: Experiment
    ids: np.ndarray
    bytes_of_tokens: np.ndarray
    number: int
    shuffle: bool

    def __len__(self) -> int:
        return -(-self._windows // self.experiment.batch_size)

    @property
    def _windows(self) -> int:
        length = self.experiment.length
        return (len(self.ids) - length) // length if self.shuffle else -(-(len(self.ids) - 1) // length)

    def start_at(self, batch: int) -> Iterator[Batch]:
        experiment, starts = self.experiment, self.experiment.length * np.arange(self._windows)
        if self.shuffle:
            generator = np.random.default_rng([experiment.seed, self.number])
            starts = generator.permutation(starts + generator.integers(0, experiment.length))
        for first in range(batch * experiment.batch_size, len(starts), experiment.batch_size):
            yield self._batch(starts[first : first + experiment.batch_size])

    def _batch(self, starts: np.ndarray) -> Batch:
        """int32 ids, labels and bytes, float32 weights, all (B, T); rows beyond the windows have weight 0."""
        begins = np.pad(starts, (0, self.experiment.batch_size - len(starts)), constant_values=len(self.ids))
        places = begins[:, None] + np.arange(self.experiment.length)
        is_real = places < len(self.ids) - 1
        inside = np.where(is_real, places, 0)
        ids, labels = (np.where(is_real, self.ids[inside + shift], 0).astype(np.int32) for shift in (0, 1))
        weights = is_real.astype(np.float32)
        return {"ids": ids, "labels": labels, "weights": weights, "bytes": self.bytes_of_tokens[labels]}


class LanguageModelling:
    """The next token of every token; labels and weights (B, T)."""

    loss = "cross_entropy"
    unit = "tokens"
    figures: tuple[Figure, ...] = (
        Figure("perplexity", "perplexity", "P", "{:.3f}", higher_is_better=False),
        Figure("bits_per_byte", "bits per byte", "BPB", "{:.4f}", higher_is_better=False),
    )
    couples_rows = False

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
    ) -> tuple[Experiment, Tokens]:
        tell = report or silent
        texts, corpus = load_corpus(experiment.dataset, source), CORPORA[experiment.dataset]
        if vocabulary is not None:
            codec = TextCodec.load(vocabulary)
        else:
            tell("learning the vocabulary of", 0, 0)
            learned_from = texts.train + texts.validation if corpus.tokens == "characters" else texts.train
            codec = TextCodec.train(corpus.tokens, learned_from, corpus.vocabulary_size)
        parts = {"train": texts.train, "validation": texts.validation}
        splits = {split: np.array(codec.encode(text), np.int32) for split, text in parts.items()}
        _check_lengths(experiment, splits)
        return fit_to_tokens(experiment, codec), Tokens(texts, codec, splits)

    def codec(self, path: Path) -> TextCodec:
        return TextCodec.load(path)

    def metrics(self, experiment: Experiment, scored: Iterable[Scored]) -> dict[str, float]:
        """The perplexity of all tokens, and two others in use: the mean of those of the batches, and that of the mean
        over the sequences' means. Sums are in float64.
        """
        parts = [(part, part.batch["weights"] > 0) for part in scored]
        losses = [part.losses[real].astype(np.float64) for part, real in parts]
        size = sum(int(part.batch["bytes"][real].sum()) for part, real in parts)
        of_rows = np.concatenate([_means_of_rows(part.losses, real) for part, real in parts])
        others = {
            "mean_perplexity_of_batches": float(np.mean([math.exp(each.mean()) for each in losses])),
            "perplexity_of_sequence_means": math.exp(of_rows.mean()),
        }
        return {**_figures(sum(each.sum() for each in losses), sum(map(len, losses)), size), **others}

    def example_batch(self, twin: Twin, inputs: Batch, seed: int) -> Batch:
        shape = inputs["ids"].shape
        weights = np.ones(shape, np.float32)
        weights[-1 - seed % 2 :] = 0.0  # the last row is padding; with every other seed, the last two
        weights[0, shape[1] // 2 :] = 0.0
        labels = np.random.default_rng(seed).integers(0, twin.arguments["vocabulary_size"], shape).astype(np.int32)
        return {**inputs, "labels": labels, "weights": weights}


def fit_to_tokens(experiment: Experiment, codec: TextCodec) -> Experiment:
    """Fill in the model arguments that are None; raises IsogradError if the vocabulary is larger than the model's."""
    found = {"vocabulary_size": codec.vocabulary_size, "sequence_length": experiment.length}
    arguments = experiment.model.arguments
    fitted = {name: found[name] if value is None else value for name, value in arguments.items()}
    if fitted["vocabulary_size"] < codec.vocabulary_size:
        raise IsogradError(
            f"{experiment.name} has a vocabulary of {fitted['vocabulary_size']:,} tokens, but {codec.origin} has "
            f"{codec.vocabulary_size:,}: pass a smaller one with --vocab FILE"
        )
    return replace(experiment, model=replace(experiment.model, arguments=fitted))


def _check_lengths(experiment: Experiment, splits: dict[str, np.ndarray]) -> None:
    """A training text must hold a whole window wherever it begins, a validation text one prediction."""
    needed = {"train": 2 * experiment.length, "validation": 2}
    for split, ids in splits.items():
        if len(ids) < needed[split]:
            raise IsogradError(
                f"expected a {split} text of at least {needed[split]} tokens for windows of {experiment.length}, got "
                f"{len(ids)}: pass a longer text"
            )


def _means_of_rows(losses: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The mean of each row that has a real position, in float64."""
    counts = real.sum(axis=1)
    sums = np.where(real, losses, 0.0).sum(axis=1, dtype=np.float64)
    return sums[counts > 0] / counts[counts > 0]


def _figures(total: float, tokens: int, size: int) -> dict[str, float]:
    """Perplexity, e^(loss / tokens), and the same loss in bits for each byte of the text."""
    return {"perplexity": float(np.exp(total / tokens)), "bits_per_byte": float(total / math.log(2) / size)}
