"""From reviews to a model's inputs: sources of texts, tokenizers, numpy batches and the metrics of a classifier."""

from shared.data.batches import batches, check_batch, number_of_batches
from shared.data.examples import Examples, tokenise
from shared.data.metrics import classification_metrics, confusion_matrix, metrics_of_confusion
from shared.data.prefetch import prefetch
from shared.data.sources import DATASETS, Dataset, load_reviews
from shared.data.splits import Reviews, Splits
from shared.data.vocabulary import TextTokenizer, load_tokenizer

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "Reviews",
    "Splits",
    "TextTokenizer",
    "batches",
    "check_batch",
    "classification_metrics",
    "confusion_matrix",
    "load_reviews",
    "load_tokenizer",
    "metrics_of_confusion",
    "number_of_batches",
    "prefetch",
    "tokenise",
]
