"""Fine-tuning, SPEC.md E4 and row 8 of E1: a pretrained BERT whole, and under a linear probe, also small on a CPU.

The small ones need no download: their BERT is tiny, and its weights are random.
"""

from dataclasses import replace
from typing import Any

from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import (
    AdagradConfig,
    AdamWConfig,
    OptimizerConfig,
    ParameterGroup,
    ScheduleConfig,
    SGDConfig,
    TrainingConfig,
)
from shared.pretrained.initial import MINILM

TWIN = "BertForSentenceClassification"
FROZEN = ParameterGroup(("bert.*",), trainable=False)
UNDECAYED = ParameterGroup(("*.bias", "*norm.weight"), weight_decay=0.0)
WARMED_UP = ScheduleConfig("linear", warmup_part=0.1)
OF_MINILM: dict[str, Any] = {  # its shape, for random weights
    "vocabulary_size": 30522,
    "sequence_length": 512,
    "embed_dim": 384,
    "num_heads": 12,
    "num_layers": 6,
    "hidden_dim": 1536,
}
TINY: dict[str, Any] = {
    "vocabulary_size": None,
    "sequence_length": None,
    "embed_dim": 32,
    "num_heads": 4,
    "num_layers": 2,
    "hidden_dim": 64,
    "attention_dropout": 0.0,
    "dropout": 0.0,
}
LADDER = (16, 32)  # and the length itself: what batches are padded to
POSITION_0: dict[str, Any] = {"pooler": False}  # a classifier without a pooler reads the output there


def _pretrained(**arguments: Any) -> ModelConfig:
    """A classifier whose other sizes are those of the folder that it starts from."""
    return ModelConfig(TWIN, {"num_classes": None, **arguments})


def _training(optimizer: str = "adamw", frozen: bool = False) -> TrainingConfig:
    """Gradients clipped to 1; biases and norms are not decayed."""
    groups = (FROZEN,) if frozen else (UNDECAYED,) if optimizer == "adamw" else ()
    return TrainingConfig(clip_norm=1.0, groups=groups)


SST2 = Experiment(
    name="sst2",
    title="MiniLM fine-tuned on SST-2, AdamW",
    dataset="sst2",
    model=_pretrained(),
    optimizer=AdamWConfig(learning_rate=5e-5),
    training=_training(),
    schedule=WARMED_UP,
    batch_size=64,
    length=64,
    epochs=10,
    evaluate_every=500,
    checkpoint_every=2000,
    bucket_lengths=LADDER,
    initial=MINILM,
)
ARITHMETIC = Experiment(
    name="arithmetic",
    title="MiniLM fine-tuned on verbal arithmetic, as the course has it",
    dataset="verbal_arithmetic_70_30",
    model=_pretrained(),
    optimizer=AdamWConfig(learning_rate=5e-5),
    training=_training(),
    schedule=WARMED_UP,
    batch_size=32,
    length=7,
    epochs=3,
    evaluate_every=14,
    checkpoint_every=1000,  # a checkpoint takes longer than many steps
    initial=MINILM,
)
ARITHMETIC_REFIT = replace(
    ARITHMETIC,
    name="arithmetic-refit",
    title="MiniLM refitted on all 640 examples of verbal arithmetic",
    dataset="verbal_arithmetic_refit",
    evaluate_every=100,
)
REVIEWS_8 = Experiment(
    name="reviews-8",
    title="pretrained BERT, fine-tuned",
    dataset="yelp_polarity",
    model=_pretrained(**POSITION_0),
    optimizer=AdamWConfig(learning_rate=5e-5),
    training=replace(_training(), accumulate=8),
    schedule=WARMED_UP,
    batch_size=64,
    length=256,
    epochs=2,
    evaluate_every=200,
    checkpoint_every=800,
    bucket_lengths=(128,),
    initial=MINILM,
)


def _with_optimizer(name: str, title: str, optimizer: OptimizerConfig) -> Experiment:
    full = replace(SST2, name=f"sst2-{name}", title=f"MiniLM fine-tuned on SST-2, {title}")
    return replace(full, optimizer=optimizer, training=_training(name))


def _frozen(experiment: Experiment, title: str, rate: float) -> Experiment:
    """A linear map, or a pooler's output and one, of the frozen model: it bears a higher rate."""
    training = replace(experiment.training, groups=(FROZEN,))
    optimizer = AdamWConfig(learning_rate=rate)
    return replace(experiment, name=f"{experiment.name}-frozen", title=title, training=training, optimizer=optimizer)


def _from_scratch(experiment: Experiment, title: str) -> Experiment:
    """The same shape with random initial weights."""
    model = ModelConfig(TWIN, {**OF_MINILM, "num_classes": None})
    return replace(experiment, name=f"{experiment.name}-random", title=title, model=model, initial=None)


def _small(experiment: Experiment) -> Experiment:
    """The same training of a tiny model with random weights on data that is built in, for 40 epochs."""
    own = {"pooler": experiment.model.arguments["pooler"]} if "pooler" in experiment.model.arguments else {}
    is_course = experiment.dataset in (ARITHMETIC.dataset, ARITHMETIC_REFIT.dataset)
    return replace(
        experiment,
        name=f"{experiment.name}-small",
        title=f"{experiment.title.replace('MiniLM', 'a tiny BERT').replace('pretrained', 'tiny')}, small",
        dataset=experiment.dataset if is_course else "verbal_arithmetic",
        model=ModelConfig(TWIN, {**TINY, **own, "num_classes": None}),
        optimizer=replace(experiment.optimizer, learning_rate=10 * experiment.optimizer.learning_rate),
        training=replace(experiment.training, accumulate=min(2, experiment.training.accumulate)),
        batch_size=64,
        epochs=40,
        evaluate_every=25,
        checkpoint_every=100,
        bucket_lengths=None if is_course else LADDER,
        initial=None,
    )


FULL = (
    SST2,
    _with_optimizer("sgd", "SGD with momentum", SGDConfig(learning_rate=1e-2, momentum=0.9)),
    _with_optimizer("adagrad", "Adagrad", AdagradConfig(learning_rate=1e-3)),
    _frozen(SST2, "a linear probe of the frozen MiniLM on SST-2", 1e-3),
    _from_scratch(SST2, "a BERT of MiniLM's shape with random weights, trained on SST-2"),
    ARITHMETIC,
    ARITHMETIC_REFIT,
    _frozen(ARITHMETIC, "a linear probe of the frozen MiniLM on verbal arithmetic", 5e-5),
    _from_scratch(ARITHMETIC, "a BERT of MiniLM's shape with random weights, trained on verbal arithmetic"),
    REVIEWS_8,
    _frozen(REVIEWS_8, "pretrained BERT, frozen, a linear map of position 0", 1e-3),
)
FINE_TUNED = (*FULL, *map(_small, FULL))


def _in_lockstep() -> Experiment:
    """The tiny BERT with dropout in every place and every feature of an update; the encoder's first table is frozen.

    Biases of keys have no effect: see experiments/catalogue/lockstep.py.
    """
    idle = ParameterGroup(("*k_proj.bias",), weight_decay=0.0, rate_factor=0.0)
    frozen = ParameterGroup(("*token_type_embedding.weight",), trainable=False)
    undecayed = ParameterGroup(("*.bias", "*norm.weight", "*embedding.weight"), weight_decay=0.0)
    (small,) = (experiment for experiment in FINE_TUNED if experiment.name == "sst2-small")
    model = replace(small.model, arguments={**small.model.arguments, "dropout": 0.1, "attention_dropout": 0.1})
    return replace(
        small,
        name="lockstep-bert",
        title="a tiny BERT, in lockstep",
        model=model,
        optimizer=AdamWConfig(learning_rate=1e-3, weight_decay=0.1),
        training=TrainingConfig(clip_norm=1.0, groups=(idle, frozen, undecayed), average_decay=0.99),
        schedule=ScheduleConfig("cosine", warmup=50),
        steps=1000,
    )


LOCKSTEP_BERT = _in_lockstep()
