"""The language models of the catalogue are those of SPEC.md, and before the first step they know nothing."""

import importlib
from dataclasses import asdict, replace

import numpy as np
import pytest
from bounds import is_a_first_loss, is_a_promised_first_loss

from experiments.catalogue import EXPERIMENTS, find_experiment
from shared.backend import load_backend
from shared.configs.experiment import ModelConfig
from shared.configs.gpt import DEVIATION, GPTConfig
from shared.configs.optimizer import AdamWConfig
from shared.data.language.corpora import CORPORA, CUTS

NAMES = [name for name in EXPERIMENTS if name.startswith("lm-")]
COURSES = {  # steps, batch, length, beta 2, context, what windows are
    "lm-hopkins": (20_000, 256, 32, 0.95, None, "lines"),
    "lm-washington": (10_000, 32, 100, 0.95, 1024, "lines"),
}
PARAMETERS = {"lm-hopkins": 2_498_784, "lm-gpt2-124m": 124_439_808}


def test_every_language_model_has_a_small_sibling_on_the_same_texts():
    full = [name for name in NAMES if not name.endswith("-small")]
    assert sorted(NAMES) == sorted([*full, *(f"{name}-small" for name in full)])
    for name in full:
        assert find_experiment(name).dataset == find_experiment(f"{name}-small").dataset


@pytest.mark.parametrize("name", COURSES)
def test_the_courses_train_as_the_spec_says(name):
    experiment = find_experiment(name)
    steps, batch, length, beta_2, context, cut = COURSES[name]
    assert experiment.optimizer == AdamWConfig(5e-4, 0.9, beta_2, 1e-8, 0.1)
    assert (experiment.steps, experiment.batch_size, experiment.length) == (steps, batch, length)
    assert (experiment.schedule.name, experiment.training.clip_norm) == ("constant", 1.0)
    assert experiment.model.arguments["sequence_length"] == context
    assert CORPORA[experiment.dataset].cut == cut
    assert not CUTS[cut].packed
    assert [experiment.model.arguments[size] for size in ("num_layers", "num_heads", "embed_dim")] == [3, 3, 48]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_they_have_the_parameters_of_the_spec_with_gpt2s_vocabulary(name):
    import torch

    experiment = find_experiment(name)
    sizes = {"vocabulary_size": 50257, "sequence_length": experiment.length}
    with torch.device("meta"):
        module = importlib.import_module("torch_impl").GPT(GPTConfig(**{**experiment.model.arguments, **sizes}))
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_first_loss_is_that_of_the_initial_weights(backend, tied):
    config = GPTConfig(4001, 32, 96, 6, 1, hidden_dim=8, dropout=0.0, tied=tied)
    model = ModelConfig("GPT", asdict(config), inputs=("ids",))
    loaded = load_backend(backend, model=model, optimizer=AdamWConfig())
    draw = np.random.default_rng(0)
    ids, labels = (draw.integers(0, 4001, (64, 32)).astype(np.int32) for _ in range(2))
    batch = {"ids": ids, "labels": labels, "weights": np.ones_like(ids, np.float32)}
    losses = loaded.fetch(loaded.eval_step(loaded.init_state(), batch))["losses"]
    assert is_a_first_loss(losses, 4001, 96, DEVIATION)
    assert not is_a_first_loss(losses, 4001, 96, 2 * DEVIATION)
    assert not is_a_first_loss(losses, 3800, 96, DEVIATION)


OF_THE_DATA = {"lm-hopkins": 50257, "lm-washington": 33281}  # tokens; of Shakespeare 65 characters
LARGE = {"lm-gpt2-124m"}  # whose weights take ten seconds to draw


@pytest.mark.parametrize("name", sorted({*NAMES} - LARGE))
def test_the_first_loss_of_every_language_model_is_as_promised(name):
    experiment = find_experiment(name)
    sizes = {"vocabulary_size": OF_THE_DATA.get(name, 65), "sequence_length": 64}
    arguments = {key: sizes[key] if value is None else value for key, value in experiment.model.arguments.items()}
    vocabulary_size, width = arguments["vocabulary_size"], arguments["embed_dim"]
    loaded = load_backend("torch", model=replace(experiment.model, arguments=arguments), optimizer=AdamWConfig())
    ids, labels = np.random.default_rng(0).integers(0, vocabulary_size, (2, 4, 64)).astype(np.int32)
    batch = {"ids": ids, "labels": labels, "weights": np.ones_like(ids, np.float32)}
    loss = loaded.fetch(loaded.eval_step(loaded.init_state(), batch))["losses"].mean()
    assert is_a_promised_first_loss(loss, vocabulary_size, width, DEVIATION)
    assert not is_a_promised_first_loss(loss, vocabulary_size + vocabulary_size // 4, width, DEVIATION)


def test_samples_survive_config_json():
    from experiments.training.run_config import experiment_from_json
    from shared.json_text import parse_object, to_json

    for experiment in (find_experiment("lm-hopkins"), replace(find_experiment("lm-hopkins"), samples=None)):
        assert experiment_from_json(parse_object(to_json(asdict(experiment)))) == experiment
