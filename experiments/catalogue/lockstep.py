"""Lockstep: the small reviews with dropout and a small GPT, each with every feature of an update, to certify both."""

from dataclasses import replace

from experiments.catalogue.language_models import LANGUAGE_MODELS
from experiments.catalogue.reviews import GRU, REVIEWS, TRANSFORMER
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig

DROPOUT = 0.3
GPT = "GPT"
UNDECAYED = {  # biases, norms and embeddings
    GRU: ("*.bias", "*embedding.weight"),
    TRANSFORMER: ("*.bias", "*norm.weight", "*embedding.weight", "*positions.weight", "*cls_token"),
    GPT: ("*.bias", "*norm.weight", "*embedding.weight"),
}


def _in_lockstep(experiment: Experiment, name: str = "") -> Experiment:
    model = experiment.model
    frozen = ParameterGroup(_without_effect(model), weight_decay=0.0, rate_factor=0.0)
    undecayed = ParameterGroup(UNDECAYED[model.twin], weight_decay=0.0)
    groups = tuple(group for group in (frozen, undecayed) if group.patterns)
    return replace(
        experiment,
        name=name or experiment.name.replace("reviews", "lockstep").removesuffix("-small"),
        title=f"{experiment.title.removesuffix(', small')}, in lockstep",
        optimizer=AdamWConfig(learning_rate=1e-3, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.1),
        training=TrainingConfig(clip_norm=1.0, groups=groups, average_decay=0.99),
        schedule=ScheduleConfig("cosine", warmup=50),
        steps=1000,
    )


def _without_effect(model: ModelConfig) -> tuple[str, ...]:
    """Biases that shift all scores of a softmax equally: in theory their gradient is 0, and nothing depends on them.

    Adam divides their noise by its own size: in float32 they would drift, differently on each side.
    """
    if model.twin in (TRANSFORMER, GPT):
        return ("*attention.k_proj.bias",)
    return ("*attention.V.bias",) if model.arguments["with_attention"] else ()


LOCKSTEP = tuple(
    _in_lockstep(experiment)
    for experiment in REVIEWS
    if experiment.name.endswith("-small") and experiment.model.arguments["dropout"] == DROPOUT
)


def _gpt_with_dropout() -> Experiment:
    """A head tied to the embedding, whose gradient has two parts, and a dropout layer in every place of GPT-2."""
    (small,) = (experiment for experiment in LANGUAGE_MODELS if experiment.name == "lm-pydoc-small")
    model = replace(small.model, arguments={**small.model.arguments, "dropout": DROPOUT, "num_layers": 2})
    return replace(small, model=model, batch_size=8, length=32)


LOCKSTEP_GPT = _in_lockstep(_gpt_with_dropout(), "lockstep-gpt")
