"""From an experiment of the catalogue to one that can start: its texts, its vocabulary, its examples and its sizes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shared.configs.experiment import Experiment
from shared.data import Examples, Splits, TextTokenizer, load_reviews, load_tokenizer, tokenise
from shared.data.formats import recognise
from shared.data.sources import DATASETS
from shared.errors import IsogradError
from shared.registry import find_twin

LENGTH_STEP = 8  # a fitted length is a multiple of this
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """An experiment with all its sizes, and what it is trained and validated on."""

    experiment: Experiment
    splits: Splits
    tokenizer: TextTokenizer
    examples: dict[str, Examples]


def prepare(
    experiment: Experiment, source: str | None, vocabulary: Path | None = None, progress: Progress | None = None
) -> Prepared:
    """Load and tokenise the data of an experiment; sizes that it leaves open (None) follow from them.

    Raises IsogradError where the data is missing, malformed, or does not fit the experiment.
    """
    experiment = replace(experiment, dataset=_dataset(experiment, source))
    splits = load_reviews(experiment.dataset, source)
    tokenizer = load_tokenizer(vocabulary, splits)
    _check_vocabulary(experiment, tokenizer)
    examples = tokenise(splits, tokenizer, experiment.length, progress=progress)
    return Prepared(fit_to_data(experiment, tokenizer, splits, examples), splits, tokenizer, examples)


def fit_to_data(
    experiment: Experiment, tokenizer: TextTokenizer, splits: Splits, examples: dict[str, Examples]
) -> Experiment:
    """Fill in the model arguments that are None; an experiment with such also gets the length that its data need."""
    arguments = experiment.model.arguments
    if None not in arguments.values():
        return experiment
    longest = max(int(part.lengths.max()) for part in examples.values())
    length = min(experiment.length, -(-longest // LENGTH_STEP) * LENGTH_STEP)
    found = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "num_classes": len(splits.label_names),
        "sequence_length": length,
    }
    fitted = {name: found[name] if value is None else value for name, value in arguments.items()}
    return replace(experiment, length=length, model=replace(experiment.model, arguments=fitted))


def with_buckets(experiment: Experiment) -> Experiment:
    """Batches padded to quarters of the length; models that read padding are told the lengths (packed semantics)."""
    model = experiment.model
    if find_twin(model.twin).reads_lengths:
        model = replace(model, inputs=("ids", "mask", "lengths"))
    quarters = tuple(-(-experiment.length * part // 4) for part in (1, 2, 3, 4))
    return replace(experiment, model=model, bucket_lengths=quarters)


def _dataset(experiment: Experiment, source: str | None) -> str:
    """The experiment's own dataset; where its classes are open, one that has as many labels as the folder."""
    is_open = experiment.model.arguments.get("num_classes", 0) is None
    if not is_open or source in (None, "hub") or not Path(str(source)).is_dir():
        return experiment.dataset
    labels = len(recognise(Path(str(source))).labels)
    names = [experiment.dataset, *DATASETS]
    return next((name for name in names if len(DATASETS[name].label_names) == labels), experiment.dataset)


def _check_vocabulary(experiment: Experiment, tokenizer: TextTokenizer) -> None:
    size = experiment.model.arguments.get("vocabulary_size")
    if size is not None and tokenizer.vocabulary_size > size:
        raise IsogradError(
            f"{experiment.name} has a vocabulary of {size:,} tokens, but {tokenizer.origin} has "
            f"{tokenizer.vocabulary_size:,}: give a smaller one with --vocab FILE"
        )
