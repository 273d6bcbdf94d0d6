"""The defaults of all settings: of AdamW and of an experiment those of SPEC.md, and each other part is switched off.

Those of a pretrained model are of the one that was published first: BERT base, GPT-2, and CLIP by patches of 32.
"""

from dataclasses import MISSING, fields, is_dataclass

import pytest

from shared.configs import bert, clip, encoder, experiment, gpt, optimizer, translation

OF_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}
OF_ENCODERS = {
    "embed_dim": 768,
    "num_heads": 12,
    "num_layers": 12,
    "hidden_dim": 3072,
    "activation": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "eps": 1e-12,
}
OF_A_TOWER = {"num_layers": 12, "activation": "quick_gelu", "attention_dropout": 0.0, "eps": 1e-5}
OF_TEXTS = {"embed_dim": 512, "num_heads": 8, "hidden_dim": 2048, **OF_A_TOWER}
OF_IMAGES = {"embed_dim": 768, "num_heads": 12, "hidden_dim": 3072, **OF_A_TOWER}
DEFAULTS = {
    encoder.EncoderConfig: OF_ENCODERS,
    bert.BertConfig: {
        **OF_ENCODERS,
        "vocabulary_size": 30522,
        "sequence_length": 512,
        "token_types": 2,
        "padding_idx": 0,
        "positions": "absolute",
        "pooler": True,
        "pooler_activation": "tanh",
        "dropout_before_pooler": False,
        "classifier_dropout": None,
        "head_activation": None,
        "num_classes": 2,
    },
    clip.CLIPConfig: {
        "vocabulary_size": 49408,
        "sequence_length": 77,
        "end_token": 49407,
        "image_size": 224,
        "patch_size": 32,
        "channels": 3,
        "projection_dim": 512,
        **{f"text_{name}": value for name, value in OF_TEXTS.items()},
        **{f"vision_{name}": value for name, value in OF_IMAGES.items()},
    },
    gpt.GPTConfig: {
        "vocabulary_size": 50257,
        "sequence_length": 1024,
        "embed_dim": 768,
        "num_heads": 12,
        "num_layers": 12,
        "hidden_dim": None,
        "dropout": 0.1,
        "tied": True,
        "attention": "softmax",
        "similarity": "dot",
        "shared": "none",
        "projection": "linear",
        "positions": "learned",
    },
    translation.TranslationConfig: {
        "vocabulary_size": 30,
        "hidden_size": 64,
        "architecture": "transformer",
        "num_layers": 3,
        "num_heads": 4,
        "hidden_dim": None,
        "dropout": 0.0,
    },
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
    modules = (bert, clip, encoder, experiment, gpt, optimizer, translation)
    members = [value for module in modules for value in vars(module).values()]
    assert {member for member in members if isinstance(member, type) and is_dataclass(member)} == DEFAULTS.keys()


@pytest.mark.parametrize("config", [gpt.GPTConfig, translation.TranslationConfig])
def test_a_feed_forward_layer_is_four_times_as_wide_unless_it_is_told(config):
    width = next(getattr(config, name) for name in ("embed_dim", "hidden_size") if hasattr(config, name))
    assert (config().feed_forward_dim, config(hidden_dim=5).feed_forward_dim) == (4 * width, 5)


def test_constants_of_initial_values_are_those_that_were_published():
    published = {"LOGIT_SCALE": 2.6592, "DEVIATION": 0.02}  # of CLIP and of GPT-2
    assert {name: getattr(clip if name == "LOGIT_SCALE" else gpt, name) for name in published} == published
