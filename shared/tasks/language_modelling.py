"""Language modelling: the next token of every token of a text; perplexity and bits per byte."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.configs.experiment import Experiment
from shared.data.batches import Batch
from shared.data.language.corpora import CORPORA, CUTS, Cut, Texts, load_corpus
from shared.data.language.text_codec import TextCodec
from shared.data.stages import Report, silent
from shared.errors import IsogradError
from shared.registry import Twin
from shared.tasks.task import Figure, Scored

BEGINNINGS, BEGINNING = 2, 8  # of the validation text, as prompts; tokens of each


@dataclass(frozen=True)
class Stream:
    """Token ids, int32, of documents one behind the other, and where each document ends (D,)."""

    ids: np.ndarray
    ends: np.ndarray

    @staticmethod
    def of(texts: str, codec: TextCodec, cut: Cut) -> "Stream":
        """Each document is followed by the token that ends it, if there is one; packed ones become a single one."""
        end = [] if codec.end is None else [codec.end]
        documents = [ids + end for ids in codec.encode_all(cut.documents(texts))]
        ids = np.fromiter(itertools.chain.from_iterable(documents), np.int32)
        if cut.packed:
            ids = ids[: len(ids) - len(end)]
            return Stream(ids, np.array([len(ids)]))
        return Stream(ids, np.cumsum(list(map(len, documents)), dtype=np.int64))

    @property
    def begins(self) -> np.ndarray:
        return np.concatenate([[0], self.ends[:-1]])

    @property
    def labels(self) -> np.ndarray:
        """All tokens that have one before them in their document, which predicts them."""
        return np.delete(self.ids, self.begins)


@dataclass(frozen=True)
class Tokens:
    """The tokens of the training and of the validation text."""

    content: Texts
    codec: TextCodec
    splits: dict[str, Stream]

    @property
    def counts(self) -> dict[str, int]:
        """Of tokens that are predicted."""
        return {split: len(stream.labels) for split, stream in self.splits.items()}

    def baseline(self, split: str = "validation") -> dict[str, float]:
        """What the frequencies of the training tokens, each counted once more, give on the text of a split."""
        counts = 1 + np.bincount(self.splits["train"].ids, minlength=self.codec.vocabulary_size)
        labels = self.splits[split].labels
        losses = np.log(counts.sum()) - np.log(counts[labels])
        return _figures(losses.sum(), len(labels), self.codec.bytes_of_tokens[labels].sum())

    def epoch(self, experiment: Experiment, split: str, number: int) -> "Windows":
        return Windows(experiment, self.splits[split], self.codec, number, split == "train")

    def prompts(self, experiment: Experiment) -> list[list[int]]:
        """What a model continues at an evaluation: the experiment's prompts, as far back as a window reaches, or
        beginnings of validation windows.
        """
        if experiment.samples is not None and experiment.samples.prompts:
            return [ids[-experiment.length :] for ids in self.codec.encode_all(experiment.samples.prompts)]
        batch = next(self.epoch(experiment, "validation", 0).start_at(0))
        rows = [ids[real][:BEGINNING] for ids, real in zip(batch["ids"], batch["weights"] > 0, strict=True)]
        return [ids.tolist() for ids in rows[:BEGINNINGS] if len(ids)]


@dataclass(frozen=True)
class Windows:
    """Windows of `length` tokens, which hold every token of each document, from its first on; what is left of its last
    window is filled with positions of weight 0. For training they are shuffled, and those of a single document are
    whole ones and begin at a place of their epoch's own.
    """

    experiment: Experiment
    stream: Stream
    codec: TextCodec
    number: int
    shuffle: bool

    def __len__(self) -> int:
        return -(-len(self._places[0]) // self.experiment.batch_size)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each window starts, and where the predictions of its document end, in order."""
        length, lasts = self.experiment.length, self.stream.ends - 1
        if self.shuffle and len(lasts) == 1:
            starts = length * np.arange((len(self.stream.ids) - length) // length)
            return starts, np.full(len(starts), lasts[0])
        counts = -(-(lasts - self.stream.begins) // length)  # of the windows of each document
        numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.stream.begins, counts) + length * numbers, np.repeat(lasts, counts)

    def start_at(self, batch: int) -> Iterator[Batch]:
        experiment, (starts, lasts) = self.experiment, self._places
        if self.shuffle:
            generator = np.random.default_rng([experiment.seed, self.number])
            offset = generator.integers(0, experiment.length) if len(self.stream.ends) == 1 else 0
            order = generator.permutation(len(starts))
            starts, lasts = starts[order] + offset, lasts[order]
        for first in range(batch * experiment.batch_size, len(starts), experiment.batch_size):
            rows = slice(first, first + experiment.batch_size)
            yield self._batch(starts[rows], lasts[rows])

    def _batch(self, starts: np.ndarray, lasts: np.ndarray) -> Batch:
        """int32 ids, labels and bytes, float32 weights, all (B, T); rows beyond the windows have weight 0."""
        missing = (0, self.experiment.batch_size - len(starts))
        places = np.pad(starts, missing)[:, None] + np.arange(self.experiment.length)
        is_real = places < np.pad(lasts, missing)[:, None]  # which is 0 in missing rows
        inside, filler = np.where(is_real, places, 0), self.codec.filler
        ids, labels = (np.where(is_real, self.stream.ids[inside + shift], filler).astype(np.int32) for shift in (0, 1))
        weights = is_real.astype(np.float32)
        return {"ids": ids, "labels": labels, "weights": weights, "bytes": self.codec.bytes_of_tokens[labels]}


class LanguageModelling:
    """The next token of every token; labels and weights (B, T)."""

    loss = "cross_entropy"
    unit = "tokens"
    figures: tuple[Figure, ...] = (
        Figure("perplexity", "perplexity", "P", "{:.3f}", higher_is_better=False),
        Figure("bits_per_byte", "bits per byte", "BPB", "{:.4f}", higher_is_better=False),
    )
    couples_rows = False
    has_folds = False

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
    ) -> tuple[Experiment, Tokens]:
        tell = report or silent
        texts, corpus = load_corpus(experiment.dataset, source), CORPORA[experiment.dataset]
        cut = CUTS[corpus.cut]
        documents = cut.documents(texts.train)
        if vocabulary is not None:
            codec = TextCodec.load(vocabulary)
        else:
            tell("learning the vocabulary of", len(documents), 0)
            learned_from = [*documents, *([texts.validation] if corpus.tokens == "characters" else [])]
            size = experiment.model.arguments.get("vocabulary_size") or corpus.vocabulary_size
            codec = TextCodec.train(corpus.tokens, learned_from, size)
        tell("encoding", len(documents), 0)
        parts = {"train": texts.train, "validation": texts.validation}
        splits = {split: Stream.of(text, codec, cut) for split, text in parts.items()}
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
    """Fill in the model arguments that are None, and the tokens that there are if they are fewer than asked for.

    Raises IsogradError if the vocabulary is larger than the model's.
    """
    found = {"vocabulary_size": codec.vocabulary_size, "sequence_length": experiment.length}
    arguments = experiment.model.arguments
    fitted = {name: found[name] if value is None else value for name, value in arguments.items()}
    if fitted["vocabulary_size"] < codec.vocabulary_size:
        raise IsogradError(
            f"{experiment.name} has a vocabulary of {fitted['vocabulary_size']:,} tokens, but {codec.origin} has "
            f"{codec.vocabulary_size:,}: pass a smaller one with --vocab FILE"
        )
    fitted["vocabulary_size"] = codec.vocabulary_size
    return replace(experiment, model=replace(experiment.model, arguments=fitted))


def _check_lengths(experiment: Experiment, splits: dict[str, Stream]) -> None:
    """A single training text must hold a whole window wherever it begins, others one prediction."""
    for split, stream in splits.items():
        needed = 2 * experiment.length if split == "train" and len(stream.ends) == 1 else 2
        if len(stream.ids) < needed:
            raise IsogradError(
                f"expected a {split} text of at least {needed} tokens for windows of {experiment.length}, got "
                f"{len(stream.ids)}: pass a longer text"
            )


def _means_of_rows(losses: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The mean of each row that has a real position, in float64."""
    counts = real.sum(axis=1)
    sums = np.where(real, losses, 0.0).sum(axis=1, dtype=np.float64)
    return sums[counts > 0] / counts[counts > 0]


def _figures(total: float, tokens: int, size: int) -> dict[str, float]:
    """Perplexity, e^(loss / tokens), and the same loss in bits for each byte of the text."""
    return {"perplexity": float(np.exp(total / tokens)), "bits_per_byte": float(total / math.log(2) / size)}
