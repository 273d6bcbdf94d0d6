"""Translation of words, letter by letter: perplexity of a letter, and words that are right throughout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.configs.experiment import Experiment
from shared.data.batches import Batch
from shared.data.pairs.batches import EXACT, Encoded, PairOrder, ladder
from shared.data.pairs.letters import END, VOCABULARY_SIZE, Letters
from shared.data.pairs.word_lists import WordPairs, load_pairs
from shared.data.stages import Report, silent
from shared.errors import IsogradError
from shared.registry import Twin
from shared.tasks.task import Figure, Scored

ERROR_RATE = "character_error_rate"  # of words that are written: the runner adds it to a validation
WRITTEN = 64  # held-out words that are written at each evaluation; `isograd translate --held-out` writes all
JOINED = ("ids",)  # inputs of a model that reads source and target as one sequence


@dataclass(frozen=True)
class TranslatedWords:
    """The ids of every source and target of each split."""

    content: WordPairs
    codec: Letters

    @cached_property
    def splits(self) -> dict[str, Encoded]:
        parts = {"train": self.content.train, "validation": self.content.validation}
        encode = self.codec.encode
        return {split: [(encode(source), encode(target)) for source, target in part] for split, part in parts.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Of letters to be written, the end of a word included."""
        return {split: sum(len(target) + 1 for _, target in part) for split, part in self.splits.items()}

    def baseline(self, split: str = "validation") -> dict[str, float]:
        """What the frequencies of the training targets' letters, each counted once more, give on a split."""
        letters = {split: [i for _, target in part for i in (*target, END)] for split, part in self.splits.items()}
        counts = 1 + np.bincount(letters["train"], minlength=VOCABULARY_SIZE)
        losses = np.log(counts.sum()) - np.log(counts[letters[split]])
        return {"perplexity": float(np.exp(losses.mean()))}

    def epoch(self, experiment: Experiment, split: str, number: int) -> PairOrder:
        return PairOrder(
            pairs=self.splits[split],
            batch_size=experiment.batch_size,
            lengths=_lengths(experiment),
            seed=experiment.seed,
            number=number,
            shuffle=split == "train",
            joined=experiment.model.inputs == JOINED,
        )


class Translation:
    """The next letter of a word's translation; labels and weights (B, T).

    A word is right if every one of its letters and its end are predicted from the right letters before: exactly then
    greedy decoding gives the word.
    """

    loss = "cross_entropy"
    unit = "letters"
    figures: tuple[Figure, ...] = (
        Figure("perplexity", "perplexity of a letter", "P", "{:.3f}", higher_is_better=False),
        Figure("word_accuracy", "words translated exactly", "W"),
        Figure(
            ERROR_RATE,
            "edits per letter",
            "E",
            higher_is_better=False,
            note=f"of the first {WRITTEN} words, as written",
        ),
        Figure("letter_accuracy", "letters predicted", "C", note="given the right letters before"),
    )
    couples_rows = False
    has_folds = False

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
    ) -> tuple[Experiment, TranslatedWords]:
        tell = report or silent
        tell("reading the words of", 0, 0)
        codec = Letters() if vocabulary is None else Letters.load(vocabulary)
        data = TranslatedWords(load_pairs(experiment.dataset, source), codec)
        _check_vocabulary(experiment)
        return fit_to_words(experiment, [*data.splits["train"], *data.splits["validation"]]), data

    def codec(self, path: Path) -> Letters:
        return Letters.load(path)

    def metrics(self, experiment: Experiment, scored: Iterable[Scored]) -> dict[str, float]:
        losses, letters, words = [], [], []
        for part in scored:
            real = part.batch["weights"] > 0
            is_right = part.predictions == part.batch["labels"]
            losses.append(part.losses[real].astype(np.float64))
            letters.append(is_right[real])
            words.append((is_right | ~real).all(axis=1)[real.any(axis=1)])
        return {
            "perplexity": float(np.exp(np.concatenate(losses).mean())),
            "word_accuracy": float(np.concatenate(words).mean()),
            "letter_accuracy": float(np.concatenate(letters).mean()),
        }

    def example_batch(self, twin: Twin, inputs: Batch, seed: int) -> Batch:
        shape = inputs["ids" if "ids" in inputs else "targets"].shape
        weights = np.ones(shape, np.float32)
        weights[-1 - seed % 2 :] = 0.0  # the last row is padding; with every other seed, the last two
        weights[0, shape[1] // 2 :] = 0.0
        labels = np.random.default_rng(seed).integers(0, twin.arguments["vocabulary_size"], shape).astype(np.int32)
        return {**inputs, "labels": labels, "weights": weights}


def _lengths(experiment: Experiment) -> tuple[int, ...]:
    """The ladder of an experiment, which ends with its length; none for batches of equal lengths."""
    buckets = experiment.bucket_lengths or ()
    exact = experiment.bucket_lengths == EXACT
    return EXACT if exact else (*(each for each in buckets if each < experiment.length), experiment.length)


def fit_to_words(experiment: Experiment, pairs: Encoded) -> Experiment:
    """The length that holds every word, and the ladder of lengths unless the experiment has one."""
    rungs = ladder(pairs)
    buckets = rungs if experiment.bucket_lengths is None else experiment.bucket_lengths
    return replace(experiment, length=rungs[-1], bucket_lengths=buckets)


def _check_vocabulary(experiment: Experiment) -> None:
    size = experiment.model.arguments["vocabulary_size"]
    if size < VOCABULARY_SIZE:
        raise IsogradError(f"{experiment.name} has a vocabulary of {size}, but the alphabet has {VOCABULARY_SIZE} ids")
