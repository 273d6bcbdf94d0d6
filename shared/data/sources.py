"""The sources of reviews: one table of datasets, each built in, read from a folder, or loaded from the hub."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shared.data import built_in, hub, splits
from shared.data.formats import read_folder
from shared.data.splits import Reviews, Splits
from shared.data.stages import Report, silent
from shared.errors import IsogradError


@dataclass(frozen=True)
class Dataset:
    """A row of the table: what can be loaded, and the names of its labels and columns."""

    description: str
    label_names: tuple[str, ...]
    vocabulary: str  # the kind of vocabulary if none is given: "words" or "word pieces"
    validation: splits.ValidationRule  # for built-in and hub data; a folder's format has its own, unless `splits_all`
    built_in: Callable[[int], dict[str, Reviews]] | None = None
    hub_id: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    splits_all: bool = False  # folders, too, by its own rule


DATASETS = {
    "yelp_polarity": Dataset(
        description="Yelp reviews, negative or positive (560,000 + 38,000)",
        label_names=("negative", "positive"),
        vocabulary="word pieces",
        validation=splits.share_test_split,
        hub_id="fancyzhx/yelp_polarity",
    ),
    "imdb": Dataset(
        description="IMDb film reviews, negative or positive (25,000 + 25,000)",
        label_names=("negative", "positive"),
        vocabulary="word pieces",
        validation=splits.validate_on_dev_or_held_out,
        hub_id="stanfordnlp/imdb",
    ),
    "verbal_arithmetic": Dataset(
        description="the sign of sums and differences in words (640 + 160, built in)",
        label_names=("negative", "zero", "positive"),
        vocabulary="words",
        validation=splits.validate_on_test,
        built_in=built_in.verbal_arithmetic,
    ),
    "verbal_arithmetic_70_30": Dataset(
        description="verbal arithmetic, 70 % of the 640 for training, 30 % for validation, the 160 for the test",
        label_names=("negative", "zero", "positive"),
        vocabulary="words",
        validation=splits.validate_on_three_tenths,
        built_in=built_in.verbal_arithmetic,
        splits_all=True,
    ),
    "verbal_arithmetic_refit": Dataset(
        description="verbal arithmetic, the 640 for training, 30 % of them for validation too, the 160 for the test",
        label_names=("negative", "zero", "positive"),
        vocabulary="words",
        validation=splits.refit_with_three_tenths,
        built_in=built_in.verbal_arithmetic,
        splits_all=True,
    ),
    "sst2": Dataset(
        description="phrases of film reviews, negative or positive (67,349 + 872)",
        label_names=("negative", "positive"),
        vocabulary="word pieces",
        validation=splits.validate_on_dev_or_held_out,
        hub_id="stanfordnlp/sst2",
        text_column="sentence",
    ),
}


def load_reviews(
    dataset: str,
    source: str | None = None,
    *,
    seed: int = 0,
    validation_size: int = 1000,
    fold: tuple[int, int] | None = None,
    report: Report = silent,
) -> Splits:
    """Load a dataset of the table from `source`: None = built in, "hub" = the Hugging Face hub, else a folder.

    `seed` shuffles what is split here (it is not the seed of a run); `validation_size` applies where validation is
    drawn from a larger part. With the `fold` (number, count), that part of the training examples is the validation.
    `report` is told how far it is.
    Raises IsogradError for an unknown dataset, an unavailable source, and files that are missing or malformed.
    """
    entry = _in_folds(_entry(dataset), fold)
    if validation_size < 1:
        raise IsogradError(f"expected a validation size of at least 1, got {validation_size}")
    if source is None:
        return _built_in(dataset, entry, seed, validation_size)
    if source == "hub":
        return _from_hub(dataset, entry, seed, validation_size, report)
    return _from_folder(dataset, entry, Path(source), seed, validation_size, report)


def _entry(dataset: str) -> Dataset:
    if dataset not in DATASETS:
        near = difflib.get_close_matches(dataset, DATASETS) or list(DATASETS)
        raise IsogradError(f"unknown dataset {dataset!r}; did you mean {' or '.join(near)}?")
    return DATASETS[dataset]


def _in_folds(entry: Dataset, fold: tuple[int, int] | None) -> Dataset:
    """The row with the rule of a fold in place of its own."""
    if fold is None:
        return entry
    return replace(entry, validation=lambda parts, seed, size: splits.fold_of(parts, *fold), splits_all=True)


def _built_in(dataset: str, entry: Dataset, seed: int, size: int) -> Splits:
    if entry.built_in is None:
        raise IsogradError(
            f"{dataset} is not built in; pass its folder with --data FOLDER, or --data hub to load {entry.hub_id}"
        )
    chosen = entry.validation(entry.built_in(seed), seed, size)
    origin = f"{dataset}, built in, split with seed {seed}"
    return splits.make_splits(chosen, entry.label_names, origin, entry.vocabulary, None)


def _from_hub(dataset: str, entry: Dataset, seed: int, size: int, report: Report) -> Splits:
    if entry.hub_id is None:
        raise IsogradError(f"{dataset} is not on the hub; it is built in, so leave --data out")
    parts = hub.load_parts(entry.hub_id, entry.text_column, entry.label_column, len(entry.label_names))
    chosen = entry.validation(parts, seed, size)
    origin = f"{dataset} from the Hugging Face hub, {entry.hub_id}"
    return splits.make_splits(chosen, entry.label_names, origin, entry.vocabulary, "hub", report)


def _from_folder(dataset: str, entry: Dataset, folder: Path, seed: int, size: int, report: Report) -> Splits:
    format, parts = read_folder(folder, report)
    if len(format.labels) != len(entry.label_names):
        raise IsogradError(
            f"{dataset} has {len(entry.label_names)} labels ({', '.join(entry.label_names)}), but {folder} holds "
            f"{len(format.labels)} ({format.name}); choose an experiment for this data or a different folder"
        )
    chosen = (entry if entry.splits_all else format).validation(parts, seed, size)
    origin = f"{dataset} from {folder}, {format.name}"
    return splits.make_splits(chosen, entry.label_names, origin, entry.vocabulary, str(folder), report)
