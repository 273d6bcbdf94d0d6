"""The config.json of a run with parameter groups: written, read, and refused where a group makes no sense."""

import json
import re
from dataclasses import replace
from functools import reduce

import pytest

from experiments.catalogue import find_experiment
from experiments.training.folder import CONFIG
from experiments.training.run_config import RunConfig, read_config, write_config
from experiments.training.same_settings import SETTINGS, check_settings_of, settings_of
from shared.configs.optimizer import ParameterGroup, TrainingConfig
from shared.errors import IsogradError

FROZEN = ParameterGroup(("*embedding.weight",), trainable=False)
BIASES = ParameterGroup(("*.bias",), weight_decay=0.0, rate_factor=0.5)


@pytest.fixture
def config() -> RunConfig:
    experiment = replace(find_experiment("lockstep-2"), training=TrainingConfig(groups=(FROZEN, BIASES)))
    texts = ("data_origin", "data_fingerprint", "tokenizer_origin", "tokenizer_fingerprint")
    counts = {"counts": {"train": 1, "validation": 1}, "parameters": 1}
    return RunConfig(experiment, "torch", "float32", "cpu", None, **dict.fromkeys(texts, ""), **counts)


def rewrite_group(folder, **changes) -> None:
    """Change the first group in the file; None takes an entry out."""
    values = json.loads((folder / CONFIG).read_text())
    group = values["experiment"]["training"]["groups"][0]
    group |= changes
    values["experiment"]["training"]["groups"][0] = {name: value for name, value in group.items() if value is not None}
    (folder / CONFIG).write_text(json.dumps(values))


def places_in(values, place=()):
    """Where plain settings stand, by their keys."""
    for key, value in values.items():
        yield from places_in(value, (*place, key)) if isinstance(value, dict) and value else [(*place, key)]


def test_whichever_setting_was_edited_is_named(tmp_path, config):
    settings = settings_of(config.experiment)
    places = list(places_in(settings))
    assert len({place[0] for place in places}) == len(settings)
    for *outer, key in places:
        edited = json.loads(json.dumps(settings))
        reduce(dict.__getitem__, outer, edited)[key] = "edited"
        with pytest.raises(IsogradError, match=re.escape(f"{'.'.join([*outer, key])} ")):
            check_settings_of({SETTINGS: edited}, config.experiment, tmp_path)


@pytest.mark.parametrize("named", ["seed", "schedule.warmup", "optimizer.learning_rate", "model.arguments.hidden_size"])
def test_an_older_checkpoint_tells_of_the_settings_that_it_has(tmp_path, config, named):
    rate = config.experiment.optimizer.learning_rate
    state = {
        "seed": config.experiment.seed,
        "schedule": {"warmup": config.experiment.schedule.warmup, "learning_rate": rate},
        "arguments": {**config.experiment.model.arguments},
    }
    check_settings_of(state, config.experiment, tmp_path)
    *outer, key = named.removeprefix("model.").replace("optimizer", "schedule").split(".")
    reduce(dict.__getitem__, outer, state)[key] = 7
    with pytest.raises(IsogradError, match=f"{re.escape(named)} .* instead of 7"):
        check_settings_of(state, config.experiment, tmp_path)


def test_frozen_groups_are_read_as_they_were_written(tmp_path, config):
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config


def test_a_group_written_before_groups_could_be_frozen_trains(tmp_path, config):
    write_config(tmp_path, config)
    rewrite_group(tmp_path, trainable=None)
    assert read_config(tmp_path).experiment.training.groups == (replace(FROZEN, trainable=True), BIASES)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"rate_factor": 0.5},
            "out of range: groups: expected frozen groups without weight_decay or rate_factor, "
            r"got rate_factor 0\.5 of \('\*embedding\.weight',\)",
        ),
        ({"weight_decay": 0.0}, r"out of range: groups: expected frozen groups .* got weight_decay 0\.0 of "),
        ({"trainable": "false"}, r"of the wrong type: experiment\.training\.groups\.0\.trainable 'false'"),
        ({"trainable": 0}, r"of the wrong type: experiment\.training\.groups\.0\.trainable 0"),
        ({"weight_decay": "none"}, r"of the wrong type: experiment\.training\.groups\.0\.weight_decay 'none'"),
    ],
)
def test_a_group_that_makes_no_sense_is_named(tmp_path, config, changes, problem):
    write_config(tmp_path, config)
    rewrite_group(tmp_path, **changes)
    with pytest.raises(IsogradError, match=problem):
        read_config(tmp_path)
