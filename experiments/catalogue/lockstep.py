"""Lockstep: the small reviews with dropout, each with every feature of an update, to certify both backends."""

from dataclasses import replace

from experiments.catalogue.reviews import GRU, REVIEWS, TRANSFORMER
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig

DROPOUT = 0.3
UNDECAYED = {  # biases, norms and embeddings
    GRU: ("*.bias", "*embedding.weight"),
    TRANSFORMER: ("*.bias", "*norm.weight", "*embedding.weight", "*positions.weight", "*cls_token"),
}


def _in_lockstep(experiment: Experiment) -> Experiment:
    model = experiment.model
    frozen = ParameterGroup(_without_effect(model), weight_decay=0.0, rate_factor=0.0)
    undecayed = ParameterGroup(UNDECAYED[model.twin], weight_decay=0.0)
    groups = tuple(group for group in (frozen, undecayed) if group.patterns)
    return replace(
        experiment,
        name=experiment.name.replace("reviews", "lockstep").removesuffix("-small"),
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
    if model.twin == TRANSFORMER:
        return ("*attention.k_proj.bias",)
    return ("*attention.V.bias",) if model.arguments["with_attention"] else ()


LOCKSTEP = tuple(
    _in_lockstep(experiment)
    for experiment in REVIEWS
    if experiment.name.endswith("-small") and experiment.model.arguments["dropout"] == DROPOUT
)
