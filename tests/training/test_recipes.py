"""The catalogue trains as the courses say: their recipes, written out. Those of reviews are in test_catalogue.py."""

import pytest

from experiments.catalogue import EXPERIMENTS
from shared.configs.optimizer import AdagradConfig, AdamConfig, AdamWConfig, ScheduleConfig, SGDConfig
from shared.parameter_groups import by_group

HOPKINS = AdamWConfig(5e-4, beta_1=0.9, beta_2=0.95, weight_decay=0.1)
FINE_TUNED = AdamWConfig(5e-5, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.01)
CONSTANT, WARMED_UP = ScheduleConfig("constant"), ScheduleConfig("linear", warmup_part=0.1)
RECIPES = {  # optimiser, schedule, examples per batch, length, steps or epochs
    "lm-hopkins": (HOPKINS, CONSTANT, 256, 32, "20000 steps"),
    "lm-washington": (HOPKINS, CONSTANT, 32, 100, "10000 steps"),
    "sst2": (FINE_TUNED, WARMED_UP, 64, 64, "10 epochs"),
    "sst2-sgd": (SGDConfig(1e-2, momentum=0.9), WARMED_UP, 64, 64, "10 epochs"),
    "sst2-adagrad": (AdagradConfig(1e-3), WARMED_UP, 64, 64, "10 epochs"),
    "arithmetic": (FINE_TUNED, WARMED_UP, 32, 7, "3 epochs"),
    "arithmetic-frozen": (FINE_TUNED, WARMED_UP, 32, 7, "3 epochs"),
    "arithmetic-refit": (FINE_TUNED, WARMED_UP, 32, 7, "3 epochs"),
    "reviews-8": (FINE_TUNED, WARMED_UP, 64, 256, "2 epochs"),
}
SHORT, LONG = 5e-4, 5e-3
WORDS = {  # model, width, layers, rate, examples per batch, epochs, patience
    "transformer-h32-3k": ("transformer", 32, 4, SHORT, 64, 100, 100),
    "transformer-h32-22k": ("transformer", 32, 3, SHORT, 512, 100, 10),
    "transformer-h64-3k": ("transformer", 64, 3, SHORT, 64, 50, 20),
    "transformer-h64-22k": ("transformer", 64, 3, SHORT, 512, 50, 20),
    "gru-h32-3k": ("plain", 32, None, LONG, 64, 50, None),
    "gru-h32-22k": ("plain", 32, None, LONG, 512, 50, None),
    "attention-h32-3k": ("additive", 32, None, LONG, 64, 50, None),
    "decoder-only-h128-3k": ("transformer", 128, 4, SHORT, 64, 100, None),
}
REVIEWS = {  # what tells the classifiers of reviews apart: encoder alone, attention; or layers, norms
    1: {"encoder_only": True, "with_attention": False},
    2: {"encoder_only": True, "with_attention": False},
    3: {"encoder_only": False, "with_attention": False},
    4: {"encoder_only": False, "with_attention": True},
    5: {"num_layers": 2, "block": "prenorm", "num_heads": 4},
    6: {"num_layers": 4, "block": "prenorm", "num_heads": 4},
    7: {"num_layers": 2, "block": "postnorm", "num_heads": 4},
}
MINILM = {  # as its folder's config.json has it
    "vocabulary_size": 30522,
    "sequence_length": 512,
    "embed_dim": 384,
    "num_heads": 12,
    "num_layers": 6,
    "hidden_dim": 1536,
}
PROMPTS = (
    " The best perks of living on the east",
    " It is a truth universally acknowledged",
    " The best way to learn",
    " According to the latest research",
)


@pytest.mark.parametrize(("name", "recipe"), RECIPES.items())
def test_a_recipe_is_that_of_the_course(name, recipe):
    each = EXPERIMENTS[name]
    planned = f"{each.steps} steps" if each.steps else f"{each.epochs} epochs"
    assert (each.optimizer, each.schedule, each.batch_size, each.length, planned) == recipe
    assert each.training.clip_norm == 1.0


def groups_of(name):
    names = [f"bert.{each}" for each in ("mlp.weight", "mlp.bias", "mlp_norm.weight", "embedding.weight")]
    groups = by_group([*names, "head.weight"], EXPERIMENTS[name].training.groups)
    return {each: group for group, found in groups for each in found}


@pytest.mark.parametrize("name", ["lm-hopkins", "lm-washington", "sst2", "arithmetic", "arithmetic-refit", "reviews-8"])
def test_neither_biases_nor_norms_are_decayed_and_in_a_language_model_no_embeddings(name):
    undecayed = {each for each, group in groups_of(name).items() if group.weight_decay == 0.0}
    expected = {"bert.mlp.bias", "bert.mlp_norm.weight"}
    assert undecayed == expected | ({"bert.embedding.weight"} if name.startswith("lm-") else set())


@pytest.mark.parametrize("name", ["sst2-frozen", "arithmetic-frozen", "reviews-8-frozen"])
def test_of_a_frozen_model_the_head_alone_is_trained(name):
    assert [each for each, group in groups_of(name).items() if group.trainable] == ["head.weight"]


def test_a_language_model_of_the_course_writes_from_its_prompts():
    samples = EXPERIMENTS["lm-hopkins"].samples
    assert (samples.prompts, samples.tokens, samples.top_k) == (PROMPTS, 30, 40)


@pytest.mark.parametrize(("name", "row"), WORDS.items())
def test_words_are_translated_as_in_the_course(name, row):
    each, (architecture, width, layers, rate, batch_size, epochs, patience) = EXPERIMENTS[f"translate-{name}"], row
    arguments = each.model.arguments
    assert (arguments["architecture"], arguments["hidden_size"]) == (architecture, width)
    assert layers in (None, arguments["num_layers"])
    assert (each.model.twin == "DecoderOnlyTranslator") == name.startswith("decoder-only")
    assert each.optimizer == AdamConfig(rate * 0.99, 0.9, 0.999, 1e-8, 0.0)  # decayed before the first epoch, too
    assert each.schedule == ScheduleConfig("epoch", factor=0.99)
    assert (each.batch_size, each.epochs, each.patience) == (batch_size, epochs, patience)
    assert each.dataset == ("pig_latin_large" if name.endswith("22k") else "pig_latin")


def test_the_scaling_law_has_six_widths_of_four_layers():
    found = [each.model.arguments for name, each in EXPERIMENTS.items() if name.startswith("scaling-h")]
    assert [(each["hidden_size"], each["num_layers"]) for each in found] == [(h, 4) for h in (16, 32, 48, 64, 96, 128)]


@pytest.mark.parametrize("size", ["", "-small"])
@pytest.mark.parametrize(("number", "options"), REVIEWS.items())
def test_a_classifier_of_reviews_is_that_of_its_row(number, options, size):
    arguments = EXPERIMENTS[f"reviews-{number}{size}"].model.arguments
    assert {name: arguments[name] for name in options} == options


@pytest.mark.parametrize("name", ["sst2-random", "arithmetic-random"])
def test_a_model_from_scratch_has_the_shape_of_the_pretrained_one(name):
    assert EXPERIMENTS[name].initial is None
    assert EXPERIMENTS[name].model.arguments == {**MINILM, "num_classes": None}
