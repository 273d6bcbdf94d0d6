"""Word translation, SPEC.md E3: the eight runs of the course, their siblings for a CPU, and six that go further."""

from dataclasses import asdict, replace
from typing import Any

from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamConfig, AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig
from shared.configs.translation import TranslationConfig

DECAY = 0.99  # of the learning rate, before each epoch, the first included
WORDS = {"3k": "pig_latin", "22k": "pig_latin_large"}
BATCHES = {"3k": 64, "22k": 512}
AN_EPOCH = {"3k": 45, "22k": 40}  # steps, about
LENGTHS = (12, 24)  # few: on a GPU each is compiled, which takes longer than it trains
OF_TRANSLATOR, OF_DECODER = ("source", "source_mask", "targets"), ("ids",)


def _model(architecture: str, hidden_size: int, twin: str = "Translator", **sizes: Any) -> ModelConfig:
    config = TranslationConfig(architecture=architecture, hidden_size=hidden_size, **sizes)
    arguments = {**asdict(config), "hidden_dim": config.feed_forward_dim}
    return ModelConfig(twin, arguments, OF_TRANSLATOR if twin == "Translator" else OF_DECODER)


def _course(
    name: str, title: str, words: str, model: ModelConfig, rate: float, epochs: int, patience: int | None = None
) -> Experiment:
    return Experiment(
        name=f"translate-{name}-{words}",
        title=title,
        dataset=WORDS[words],
        model=model,
        optimizer=AdamConfig(learning_rate=rate * DECAY, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.0),
        schedule=ScheduleConfig("epoch", factor=DECAY),
        batch_size=BATCHES[words],
        epochs=epochs,
        evaluate_every=AN_EPOCH[words],
        checkpoint_every=10 * AN_EPOCH[words],
        bucket_lengths=LENGTHS,
        task="translation",
        patience=patience,
    )


COURSE = (
    _course(
        "transformer-h32",
        "Transformer, width 32, 4 layers",
        "3k",
        _model("transformer", 32, num_layers=4),
        5e-4,
        100,
        100,
    ),
    _course("transformer-h32", "Transformer, width 32, 3 layers", "22k", _model("transformer", 32), 5e-4, 100, 10),
    _course("transformer-h64", "Transformer, width 64, 3 layers", "3k", _model("transformer", 64), 5e-4, 50, 20),
    _course("transformer-h64", "Transformer, width 64, 3 layers", "22k", _model("transformer", 64), 5e-4, 50, 20),
    _course("gru-h32", "GRU, width 32", "3k", _model("plain", 32), 5e-3, 50),
    _course("gru-h32", "GRU, width 32", "22k", _model("plain", 32), 5e-3, 50),
    _course("attention-h32", "GRU with additive attention, width 32", "3k", _model("additive", 32), 5e-3, 50),
    _course(
        "decoder-only-h128",
        "decoder-only transformer, width 128, 4 layers",
        "3k",
        _model("transformer", 128, "DecoderOnlyTranslator", num_layers=4),
        5e-4,
        100,
    ),
)
FIRST_EPOCHS = 8


def _small(experiment: Experiment) -> Experiment:
    """The first epochs, on the built-in words."""
    return replace(
        experiment,
        name=f"{experiment.name}-small",
        title=f"{experiment.title}, small",
        dataset="pig_latin",
        batch_size=64,
        epochs=FIRST_EPOCHS,
        evaluate_every=AN_EPOCH["3k"],
        patience=None,
    )


def _further(name: str, title: str, words: str, model: ModelConfig, rate: float, **rest: Any) -> Experiment:
    course = _course(name, title, words, model, rate, 40)
    return replace(
        course,
        optimizer=replace(course.optimizer, learning_rate=rate),
        training=TrainingConfig(clip_norm=1.0),
        schedule=ScheduleConfig("cosine", warmup=100, final=0.01),
        **rest,
    )


FURTHER = (
    _further("attention-h128", "GRU with additive attention, width 128", "3k", _model("additive", 128), 3e-3),
    _further(
        "attention-h128", "GRU with additive attention, width 128", "22k", _model("additive", 128), 3e-3, batch_size=256
    ),
    _further(
        "transformer-h128",
        "Transformer, width 128, 3 layers",
        "22k",
        _model("transformer", 128),
        1e-3,
        batch_size=256,
        epochs=100,
    ),
    _further(
        "decoder-only-h128",
        "decoder-only transformer, width 128, 4 layers",
        "22k",
        _model("transformer", 128, "DecoderOnlyTranslator", num_layers=4),
        1e-3,
        batch_size=256,
        epochs=100,
    ),
    _further(
        "multi-headed-h128",
        "multi-head transformer, width 128, 3 layers",
        "3k",
        _model("multi_headed", 128, num_heads=8, dropout=0.1),
        1e-3,
    ),
    _further(
        "multi-headed-h128",
        "multi-head transformer, width 128, 3 layers",
        "22k",
        _model("multi_headed", 128, num_heads=8, dropout=0.1),
        1e-3,
        batch_size=256,
        epochs=100,
    ),
)
SCALING_WIDTHS = (16, 32, 48, 64, 96, 128)
SCALING = tuple(
    replace(
        _course(
            f"scaling-h{width}",
            f"decoder-only transformer of the scaling law, width {width}",
            "3k",
            _model("transformer", width, "DecoderOnlyTranslator", num_layers=4),
            5e-4,
            100,
        ),
        name=f"scaling-h{width}",
    )
    for width in SCALING_WIDTHS
)
# Biases that shift all scores of a softmax equally: their gradients are rounding alone, as in lockstep.py.
WITHOUT_EFFECT = {"plain": (), "additive": ("*attention.V.bias",)}
CERTIFIED = {  # of each architecture, with every feature of an update
    "plain": _model("plain", 16),
    "additive": _model("additive", 16),
    "scaled-dot": _model("scaled_dot", 16),
    "transformer": _model("transformer", 16, num_layers=2),
    "multi-headed": _model("multi_headed", 16, num_layers=2, num_heads=2, dropout=0.3),
    "decoder-only": _model("transformer", 16, "DecoderOnlyTranslator", num_layers=2),
}
ONE_SHAPE = 64  # longer than every word: all are padded to the longest, so that few programs are compiled


def _in_lockstep(name: str, model: ModelConfig) -> Experiment:
    frozen = ParameterGroup(WITHOUT_EFFECT.get(name, ("*k_proj.bias",)), weight_decay=0.0, rate_factor=0.0)
    norms = ("*norm*.weight",) if name == "multi-headed" else ()
    undecayed = ParameterGroup(("*.bias", *norms, "*characters.weight"), weight_decay=0.0)
    groups = tuple(group for group in (frozen, undecayed) if group.patterns)
    return Experiment(
        name=f"lockstep-translate-{name}",
        title=f"{name.replace('-', ' ')} translator, in lockstep",
        dataset="pig_latin",
        model=model,
        optimizer=AdamWConfig(learning_rate=1e-3, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.1),
        training=TrainingConfig(clip_norm=1.0, groups=groups, average_decay=0.99),
        schedule=ScheduleConfig("cosine", warmup=50),
        batch_size=32,
        steps=1000,
        bucket_lengths=(ONE_SHAPE,),
        task="translation",
    )


IN_LOCKSTEP = tuple(_in_lockstep(name, model) for name, model in CERTIFIED.items())
TRANSLATION = (*COURSE, *map(_small, COURSE), *FURTHER, *SCALING, *IN_LOCKSTEP)
