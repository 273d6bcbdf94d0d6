"""Masked language modelling (Devlin et al. 2019): the tokens of a text that were hidden; perplexity and accuracy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.configs.experiment import Experiment
from shared.data.batches import PAD, Batch
from shared.data.language.corpora import CORPORA, CUTS, Texts, load_corpus
from shared.data.stages import Report, silent
from shared.data.vocabulary import TextTokenizer, learn_tokenizer
from shared.errors import IsogradError
from shared.registry import Twin
from shared.tasks.task import Figure, Scored

HIDDEN, MASKED, REPLACED = 0.15, 0.8, 0.1  # of all tokens; of those, become [MASK], or any token; the rest stay
SPECIAL = ("[CLS]", "[SEP]", "[MASK]")
ENDS = 2  # [CLS] and [SEP] around every window


@dataclass(frozen=True)
class Pieces:
    """The tokens of the training and of the validation text, one document behind the other."""

    content: Texts
    codec: TextTokenizer
    splits: dict[str, np.ndarray]  # int32

    @property
    def counts(self) -> dict[str, int]:
        """Of tokens, of which a part is hidden."""
        return {split: len(ids) for split, ids in self.splits.items()}

    def baseline(self, split: str = "validation") -> dict[str, float]:
        """What the frequencies of the training tokens, each counted once more, give on the text of a split."""
        counts = 1 + np.bincount(self.splits["train"], minlength=self.codec.vocabulary_size)
        labels = self.splits[split]
        losses = np.log(counts.sum()) - np.log(counts[labels])
        return {"perplexity": float(np.exp(losses.mean())), "accuracy": float(np.mean(labels == counts.argmax()))}

    def epoch(self, experiment: Experiment, split: str, number: int) -> "HiddenTokens":
        return HiddenTokens(experiment, self.splits[split], self.codec, number, split == "train")


@dataclass(frozen=True)
class HiddenTokens:
    """Windows of `length` tokens, [CLS] and [SEP] included; what is hidden depends on (seed, epoch, window) alone."""

    experiment: Experiment
    ids: np.ndarray
    codec: TextTokenizer
    number: int
    shuffle: bool

    @property
    def windows(self) -> int:
        return -(-len(self.ids) // (self.experiment.length - ENDS))

    def __len__(self) -> int:
        return -(-self.windows // self.experiment.batch_size)

    def start_at(self, batch: int) -> Iterator[Batch]:
        generator = np.random.default_rng([self.experiment.seed, self.number])
        order = generator.permutation(self.windows) if self.shuffle else np.arange(self.windows)
        size = self.experiment.batch_size
        return (self._batch(order[first : first + size]) for first in range(batch * size, self.windows, size))

    def _batch(self, windows: np.ndarray) -> Batch:
        """int32 ids and labels, bool mask, float32 weights, all (B, T); rows beyond the windows have weight 0."""
        shape = self.experiment.batch_size, self.experiment.length
        ids, labels = np.full(shape, PAD, np.int32), np.full(shape, PAD, np.int32)
        mask, weights = np.zeros(shape, bool), np.zeros(shape, np.float32)
        for row, window in enumerate(windows):
            tokens, hidden, shown = self._hidden(int(window))
            end = len(tokens) + 1
            ids[row, 0], ids[row, 1:end], ids[row, end] = self._special("[CLS]"), shown, self._special("[SEP]")
            labels[row, 1:end], weights[row, 1:end], mask[row, : end + 1] = tokens, hidden, True
        return {"ids": ids, "mask": mask, "labels": labels, "weights": weights}

    def _hidden(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of a window, which of them are hidden, at least one, and what is shown instead of all."""
        width = self.experiment.length - ENDS
        tokens = self.ids[window * width : (window + 1) * width]
        generator = np.random.default_rng([self.experiment.seed, self.number, window])
        hidden = generator.random(len(tokens)) < HIDDEN
        hidden[generator.integers(len(tokens))] |= not hidden.any()
        kind, others = generator.random(len(tokens)), generator.integers(0, self.codec.vocabulary_size, len(tokens))
        replaced = np.where(kind < MASKED, self._special("[MASK]"), np.where(kind < MASKED + REPLACED, others, tokens))
        return tokens, hidden, np.where(hidden, replaced, tokens)

    def _special(self, token: str) -> int:
        return self.codec.special(token)


class MaskedLanguageModelling:
    """The tokens that were hidden; labels and weights (B, T)."""

    loss = "cross_entropy"
    unit = "tokens"
    figures: tuple[Figure, ...] = (
        Figure("perplexity", "perplexity", "P", "{:.3f}", higher_is_better=False, note="of hidden tokens"),
        Figure("accuracy", "accuracy", "A"),
    )
    couples_rows = False
    has_folds = False

    def load(
        self, experiment: Experiment, source: str | None, vocabulary: Path | None = None, report: Report | None = None
    ) -> tuple[Experiment, Pieces]:
        tell = report or silent
        texts, cut = load_corpus(experiment.dataset, source), CUTS[CORPORA[experiment.dataset].cut]
        documents = {"train": cut.documents(texts.train), "validation": cut.documents(texts.validation)}
        codec = TextTokenizer.load(vocabulary) if vocabulary else learn_tokenizer(documents["train"], tell)
        for token in SPECIAL:
            codec.special(token)
        encode = partial(_encoded, codec, tell)
        pieces = Pieces(texts, codec, {split: encode(split, parts) for split, parts in documents.items()})
        return _fitted(experiment, codec), pieces

    def codec(self, path: Path) -> TextTokenizer:
        return TextTokenizer.load(path)

    def metrics(self, experiment: Experiment, scored: Iterable[Scored]) -> dict[str, float]:
        real = [(part, part.batch["weights"] > 0) for part in scored]
        losses = np.concatenate([part.losses[hidden] for part, hidden in real]).astype(np.float64)
        right = np.concatenate([(part.predictions == part.batch["labels"])[hidden] for part, hidden in real])
        return {"perplexity": float(np.exp(losses.mean())), "accuracy": float(right.mean())}

    def example_batch(self, twin: Twin, inputs: Batch, seed: int) -> Batch:
        shape = inputs["ids"].shape
        weights = np.ones(shape, np.float32)
        weights[-1 - seed % 2 :] = 0.0  # the last row is padding; with every other seed, the last two
        weights[0, shape[1] // 2 :] = 0.0
        labels = np.random.default_rng(seed).integers(0, twin.arguments["vocabulary_size"], shape).astype(np.int32)
        return {**inputs, "labels": labels, "weights": weights}


def _encoded(codec: TextTokenizer, tell: Report, split: str, documents: list[str]) -> np.ndarray:
    tell(f"encoding {split}:", len(documents), 0)
    rows = [ids[1:-1] for ids in codec.encode_batch(documents)]
    ids = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    if not len(ids):
        raise IsogradError(f"expected a {split} text of at least one token, got none: pass a longer text")
    return ids


def _fitted(experiment: Experiment, codec: TextTokenizer) -> Experiment:
    """Fill in the model arguments that are None; raises IsogradError for a vocabulary or a window that is too large."""
    found = {"vocabulary_size": codec.vocabulary_size, "sequence_length": experiment.length}
    model = experiment.model
    fitted: dict[str, Any] = {
        name: found.get(name) if value is None else value for name, value in model.arguments.items()
    }
    too_large = [name for name, value in found.items() if value > fitted[name]]
    if too_large:
        listed = ", ".join(f"{name} {fitted[name]:,}, less than {found[name]:,}" for name in too_large)
        raise IsogradError(f"{experiment.name} has {listed}: pass a smaller vocabulary with --vocab FILE")
    return replace(experiment, model=replace(model, arguments=fitted))
