"""Reviews, SPEC.md E1: seven classifiers for Yelp Polarity, each also scaled down for built-in data on a CPU."""

from dataclasses import dataclass, field
from typing import Any

from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig


@dataclass(frozen=True)
class Row:
    """A row of table E1."""

    number: int
    title: str
    twin: str
    dropout: float
    options: dict[str, Any] = field(default_factory=dict)


GRU = "ReviewClassifierGRU"
TRANSFORMER = "ReviewClassifierTransformer"
ENCODER = {"encoder_only": True, "with_attention": False}
DECODER = {"encoder_only": False, "with_attention": False}
ATTENTION = {"encoder_only": False, "with_attention": True}

ROWS = (
    Row(1, "GRU encoder", GRU, 0.0, ENCODER),
    Row(2, "GRU encoder", GRU, 0.3, ENCODER),
    Row(3, "GRU encoder-decoder, no attention", GRU, 0.3, DECODER),
    Row(4, "GRU encoder-decoder, soft attention", GRU, 0.3, ATTENTION),
    Row(5, "Transformer, 2 layers, pre-norm", TRANSFORMER, 0.3, {"num_layers": 2, "block": "prenorm"}),
    Row(6, "Transformer, 4 layers, pre-norm", TRANSFORMER, 0.3, {"num_layers": 4, "block": "prenorm"}),
    Row(7, "Transformer, 2 layers, post-norm", TRANSFORMER, 0.3, {"num_layers": 2, "block": "postnorm"}),
)

COMPARED = {  # rows that differ in one thing, shown side by side in a report
    (1, 2): "dropout",
    (2, 3): "a decoder after the encoder",
    (3, 4): "soft attention in the decoder",
    (5, 6): "the number of layers",
    (5, 7): "normalisation before or after",
}


def _full(row: Row) -> Experiment:
    return Experiment(
        name=f"reviews-{row.number}",
        title=f"{row.title}, dropout {row.dropout}",
        dataset="yelp_polarity",
        model=ModelConfig(row.twin, _arguments(row, width=256, vocabulary_size=30522, length=256, num_classes=2)),
        optimizer=AdamWConfig(learning_rate=1e-4, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.01),
        batch_size=512,
        length=256,
        epochs=5,
        evaluate_every=25,
        checkpoint_every=100,
        seed=0,
    )


def _small(row: Row) -> Experiment:
    """None marks sizes that follow from the data and the vocabulary: see experiments/training/preparation.py."""
    return Experiment(
        name=f"reviews-{row.number}-small",
        title=f"{row.title}, dropout {row.dropout}, small",
        dataset="verbal_arithmetic",
        model=ModelConfig(row.twin, _arguments(row, width=32, vocabulary_size=None, length=None, num_classes=None)),
        optimizer=AdamWConfig(learning_rate=1e-3),
        batch_size=64,
        length=64,
        epochs=40,
        evaluate_every=25,
        checkpoint_every=100,
        seed=0,
    )


def _arguments(
    row: Row, width: int, vocabulary_size: int | None, length: int | None, num_classes: int | None
) -> dict[str, Any]:
    widths: dict[str, dict[str, Any]] = {
        GRU: {"embedding_size": width, "hidden_size": width, "num_layers": 1, "implementation": "fused"},
        TRANSFORMER: {"sequence_length": length, "embed_dim": width, "hidden_dim": width, "num_heads": 4},
    }
    sizes = {"vocabulary_size": vocabulary_size, **widths[row.twin]}
    return {**sizes, **row.options, "dropout": row.dropout, "num_classes": num_classes}


REVIEWS = tuple(make(row) for make in (_full, _small) for row in ROWS)
SIDE_BY_SIDE = {
    (f"reviews-{a}{size}", f"reviews-{b}{size}"): what for size in ("", "-small") for (a, b), what in COMPARED.items()
}
