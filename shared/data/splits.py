"""Texts with labels, and the rules by which the published parts of a dataset become training and validation splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.data.stages import Report, counted, silent
from shared.errors import IsogradError


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels, in equal numbers."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> Reviews:
        """The reviews at these indices, in this order."""
        return Reviews(tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices))

    def __add__(self, other: Reviews) -> Reviews:
        return Reviews(self.texts + other.texts, self.labels + other.labels)


@dataclass(frozen=True)
class Splits:
    """The training and validation data; `origin` is a sentence for the log, `fingerprint` a hash of the content."""

    train: Reviews
    validation: Reviews
    test: Reviews | None
    label_names: tuple[str, ...]
    origin: str
    fingerprint: str
    vocabulary: str  # the kind of vocabulary if none is given: "words" or "word pieces"
    source: str | None  # None = built in, "hub", or a folder

    @property
    def folder(self) -> Path | None:
        """The local folder that the texts come from, if any."""
        return None if self.source in (None, "hub") else Path(str(self.source))

    def parts(self) -> dict[str, Reviews]:
        """The non-empty splits by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: reviews for name, reviews in named.items() if reviews}


THREE_TENTHS, STRATIFIED_SEED = 0.3, 42
Parts = Mapping[str, Reviews]  # the published parts: train, test, dev
ValidationRule = Callable[[Parts, int, int], dict[str, Reviews]]


def share_test_split(parts: Parts, seed: int, size: int) -> dict[str, Reviews]:
    """The shuffled test part gives `size` validation examples, the rest joins train (Yelp Polarity, SPEC.md E1)."""
    order = np.random.default_rng(seed).permutation(len(parts["test"]))
    validation, rest = parts["test"].take(order[:size]), parts["test"].take(order[size:])
    return {"train": parts["train"] + rest, "validation": validation}


def validate_on_test(parts: Parts, seed: int, size: int) -> dict[str, Reviews]:
    """The whole test part is the validation split."""
    return {"train": parts["train"], "validation": parts["test"]}


def validate_on_three_tenths(parts: Parts, seed: int, size: int) -> dict[str, Reviews]:
    """30 % of the training part, in each label's share, is the validation split (SPEC.md E4)."""
    train = parts["train"]
    held = _stratified(np.array(train.labels), round(THREE_TENTHS * len(train)), STRATIFIED_SEED)
    chosen = {"train": train.take(np.flatnonzero(~held)), "validation": train.take(np.flatnonzero(held))}
    return chosen | ({"test": parts["test"]} if "test" in parts else {})


def refit_with_three_tenths(parts: Parts, seed: int, size: int) -> dict[str, Reviews]:
    """The same 30 %, which are trained on as well: the validation only chooses the checkpoint that fits best."""
    return {**validate_on_three_tenths(parts, seed, size), "train": parts["train"]}


def fold_of(parts: Parts, number: int, count: int) -> dict[str, Reviews]:
    """The training part in `count` folds, each with its share of every label: fold `number`, from 1, validates."""
    train = parts["train"]
    held = _by_label(np.array(train.labels), STRATIFIED_SEED)[number - 1 :: count]
    is_held = np.isin(np.arange(len(train)), held)
    chosen = {"train": train.take(np.flatnonzero(~is_held)), "validation": train.take(np.flatnonzero(is_held))}
    return chosen | ({"test": parts["test"]} if "test" in parts else {})


def _stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Which examples are chosen: `size` of them, spread evenly over the labels, at random within each."""
    chosen = np.zeros(len(labels), bool)
    chosen[_by_label(labels, seed)[(np.arange(size) * len(labels) + len(labels) // 2) // size]] = True
    return chosen


def _by_label(labels: np.ndarray, seed: int) -> np.ndarray:
    """The indices of the examples, label by label, at random within each."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def validate_on_dev_or_held_out(parts: Parts, seed: int, size: int) -> dict[str, Reviews]:
    """The dev part is the validation split; if none is published, `size` shuffled training examples are held out."""
    if "dev" in parts:
        chosen = {"train": parts["train"], "validation": parts["dev"]}
    else:
        order = np.random.default_rng(seed).permutation(len(parts["train"]))
        chosen = {"train": parts["train"].take(order[size:]), "validation": parts["train"].take(order[:size])}
    return chosen | ({"test": parts["test"]} if "test" in parts else {})


def make_splits(
    chosen: Mapping[str, Reviews],
    label_names: tuple[str, ...],
    origin: str,
    vocabulary: str,
    source: str | None,
    report: Report = silent,
) -> Splits:
    """Splits with their fingerprint; an empty training or validation split is an error."""
    empty = [name for name in ("train", "validation") if not chosen[name]]
    if empty:
        total = sum(len(reviews) for reviews in chosen.values())
        raise IsogradError(
            f"expected examples for training and validation, got none for {' and '.join(empty)} out of {total} "
            f"({origin}); provide more data or a smaller validation size"
        )
    fingerprint = _fingerprint(chosen, label_names, report)
    test = chosen.get("test")
    return Splits(chosen["train"], chosen["validation"], test, label_names, origin, fingerprint, vocabulary, source)


def _fingerprint(chosen: Mapping[str, Reviews], label_names: tuple[str, ...], report: Report) -> str:
    digest = hashlib.sha256(repr(label_names).encode())
    for name in sorted(chosen):
        reviews = chosen[name]
        digest.update(f"\0{name} {len(reviews)}\0".encode())
        rows = zip(reviews.texts, reviews.labels, strict=True)
        for text, label in counted(rows, report, f"{name}: fingerprinted", len(reviews)):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(b"%d %d\0" % (label, len(data)))
            digest.update(data)
    return digest.hexdigest()
