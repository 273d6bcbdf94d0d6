"""The defaults of all settings: of AdamW and of an experiment those of SPEC.md, and each other part is switched off."""

from dataclasses import MISSING, fields, is_dataclass

import pytest

from shared.configs import experiment, optimizer

OF_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}
DEFAULTS = {
    optimizer.SGDConfig: {"learning_rate": 1e-2, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    optimizer.AdamConfig: {"learning_rate": 1e-3, **OF_ADAM, "weight_decay": 0.0},
    optimizer.AdamWConfig: {"learning_rate": 1e-4, **OF_ADAM, "weight_decay": 0.01},
    optimizer.RMSpropConfig: {"learning_rate": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0},
    optimizer.AdagradConfig: {"learning_rate": 1e-2, "eps": 1e-10, "weight_decay": 0.0},
    optimizer.ParameterGroup: {"weight_decay": None, "rate_factor": 1.0, "trainable": True},
    optimizer.TrainingConfig: {
        "clip_norm": None,
        "groups": (),
        "accumulate": 1,
        "average_decay": None,
        "dropout_rng": "shared",
    },
    optimizer.ScheduleConfig: {
        "name": "constant",
        "warmup": 0,
        "warmup_part": 0.0,
        "horizon": None,
        "final": 0.0,
        "every": 1,
        "factor": 1.0,
    },
    experiment.ModelConfig: {"inputs": ("ids", "mask")},
    experiment.Experiment: {
        "optimizer": optimizer.AdamWConfig(),
        "training": optimizer.TrainingConfig(),
        "schedule": optimizer.ScheduleConfig(),
        "batch_size": 512,
        "length": 256,
        "epochs": 5,
        "steps": None,
        "evaluate_every": 25,
        "checkpoint_every": 100,
        "seed": 0,
        "bucket_lengths": None,
        "task": "classification",
        "patience": None,
        "samples": None,
        "initial": None,
        "fold": None,
    },
    experiment.SamplesConfig: {"prompts": (), "tokens": 30, "temperature": 1.0, "top_k": 40},
}


@pytest.mark.parametrize("config", DEFAULTS, ids=lambda config: config.__name__)
def test_defaults_are_those_of(config):
    found = {field.name: field.default for field in fields(config) if field.init and field.default is not MISSING}
    assert found == DEFAULTS[config]


def test_every_config_is_in_the_table():
    members = [value for module in (optimizer, experiment) for value in vars(module).values()]
    assert {member for member in members if isinstance(member, type) and is_dataclass(member)} == DEFAULTS.keys()
