"""Lockstep: the small reviews with dropout, each trained with all that an update can have, to certify both backends."""

from dataclasses import replace

from experiments.catalogue.reviews import GRU, REVIEWS, TRANSFORMER
from shared.configs.experiment import Experiment
from shared.configs.optimizer import AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig

DROPOUT = 0.3
UNDECAYED = {  # biases, norms and what is looked up
    GRU: ("*.bias", "*embedding.weight"),
    TRANSFORMER: ("*.bias", "*norm.weight", "*embedding.weight", "*positions.weight", "*cls_token"),
}


def _in_lockstep(experiment: Experiment) -> Experiment:
    model = experiment.model
    undecayed = ParameterGroup(UNDECAYED[model.twin], weight_decay=0.0)
    return replace(
        experiment,
        name=experiment.name.replace("reviews", "lockstep").removesuffix("-small"),
        title=f"{experiment.title.removesuffix(', small')}, in lockstep",
        optimizer=AdamWConfig(learning_rate=1e-3, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.1),
        training=TrainingConfig(clip_norm=1.0, groups=(undecayed,), average_decay=0.99),
        schedule=ScheduleConfig("cosine", warmup=50),
        steps=1000,
    )


LOCKSTEP = tuple(
    _in_lockstep(experiment)
    for experiment in REVIEWS
    if experiment.name.endswith("-small") and experiment.model.arguments["dropout"] == DROPOUT
)
