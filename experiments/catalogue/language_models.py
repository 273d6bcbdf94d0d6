"""Language models, SPEC.md E2: GPTs, each also scaled down for a CPU."""

from dataclasses import asdict, replace
from typing import Any

from shared.configs.experiment import Experiment, ModelConfig, SamplesConfig
from shared.configs.gpt import PRESETS, GPTConfig
from shared.configs.optimizer import AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig

UNDECAYED = ParameterGroup(("*.bias", "*norm.weight", "*embedding.weight"), weight_decay=0.0)
CONSTANT, COSINE = ScheduleConfig(), ScheduleConfig("cosine", warmup=100, final=0.1)
PROMPTS = (
    " The best perks of living on the east",
    " It is a truth universally acknowledged",
    " The best way to learn",
    " According to the latest research",
)


def _model(config: GPTConfig, **sizes: Any) -> ModelConfig:
    """The vocabulary and the context follow from the data and the window, unless given: None marks them, see
    shared/tasks/language_modelling.py.
    """
    open_sizes = {"vocabulary_size": None, "sequence_length": None}
    arguments = {**asdict(config), "hidden_dim": config.feed_forward_dim, **open_sizes, **sizes}
    return ModelConfig("GPT", arguments, inputs=("ids",))


def _experiment(name: str, title: str, dataset: str, model: ModelConfig, **rest: Any) -> Experiment:
    optimizer = AdamWConfig(learning_rate=rest.pop("rate"), beta_1=0.9, beta_2=rest.pop("beta_2"), weight_decay=0.1)
    training = TrainingConfig(clip_norm=1.0, groups=(UNDECAYED,), accumulate=rest.pop("accumulate", 1))
    rest = {"samples": SamplesConfig(), **rest}
    return Experiment(name, title, dataset, model, optimizer, training, task="language_modelling", **rest)


NANO = replace(PRESETS["nano"], dropout=0.1)
HOPKINS = _experiment(
    "lm-hopkins",
    "GPT-nano on lines of Wikipedia, in chunks of 32 tokens",
    "wikitext-2-lines",
    _model(NANO),
    rate=5e-4,
    beta_2=0.95,
    batch_size=256,
    length=32,
    steps=20_000,
    evaluate_every=1000,
    checkpoint_every=1000,
    samples=SamplesConfig(PROMPTS, tokens=30, top_k=40),
)
WASHINGTON = _experiment(
    "lm-washington",
    "GPT-nano on the words of Wikipedia, in chunks of 100",
    "wikitext-2-words",
    _model(NANO, sequence_length=1024),
    rate=5e-4,
    beta_2=0.95,
    batch_size=32,
    length=100,
    steps=10_000,
    evaluate_every=1000,
    checkpoint_every=1000,
    samples=SamplesConfig(PROMPTS, tokens=30, top_k=40),
)
PYDOC = _experiment(
    "lm-pydoc",
    "GPT-mini on Python's reference, BPE of 2,048 tokens",
    "pydoc",
    _model(replace(PRESETS["mini"], dropout=0.2), vocabulary_size=2048),
    rate=1e-3,
    beta_2=0.99,
    schedule=COSINE,
    batch_size=32,
    length=128,
    steps=3000,
    evaluate_every=250,
    checkpoint_every=500,
)
GPT2 = _experiment(
    "lm-gpt2-124m",
    "GPT-2 of 124 million parameters on articles of Wikipedia",
    "wikitext-2",
    _model(PRESETS["gpt2"]),
    rate=6e-4,
    beta_2=0.95,
    schedule=COSINE,
    accumulate=8,
    batch_size=16,
    length=1024,
    steps=8000,
    evaluate_every=400,
    checkpoint_every=2000,
    samples=SamplesConfig(PROMPTS, tokens=100, top_k=40),
)
SHAKESPEARE = _experiment(
    "lm-shakespeare-char",
    "GPT of 6 layers on the characters of Shakespeare",
    "tinyshakespeare",
    _model(GPTConfig(num_layers=6, num_heads=6, embed_dim=384, dropout=0.2)),
    rate=1e-3,
    beta_2=0.99,
    schedule=COSINE,
    batch_size=64,
    length=256,
    steps=5000,
    evaluate_every=250,
    checkpoint_every=1000,
    samples=SamplesConfig(tokens=200, top_k=None),
)


def _small(experiment: Experiment, title: str, **changes: Any) -> Experiment:
    """The same data and the same updates with a model and a batch for a CPU, without dropout."""
    usual: dict[str, Any] = {"evaluate_every": 200, "checkpoint_every": 400}
    return replace(experiment, name=f"{experiment.name}-small", title=f"{title}, small", **{**usual, **changes})


def _tiny(**sizes: Any) -> ModelConfig:
    return _model(replace(PRESETS["nano"], dropout=0.0), **sizes)


LANGUAGE_MODELS = (
    HOPKINS,
    _small(
        HOPKINS,
        "GPT-nano on lines of Wikipedia, BPE of 2,048 tokens",
        model=_tiny(vocabulary_size=2048),
        optimizer=replace(HOPKINS.optimizer, learning_rate=3e-3),
        batch_size=32,
        steps=1200,
    ),
    WASHINGTON,
    _small(
        WASHINGTON,
        "GPT-nano on the 2,048 most frequent words of Wikipedia",
        model=_tiny(vocabulary_size=2048, sequence_length=128),
        optimizer=replace(WASHINGTON.optimizer, learning_rate=3e-3),
        batch_size=16,
        steps=1200,
    ),
    PYDOC,
    _small(
        PYDOC,
        "GPT-nano on Python's reference, BPE of 512 tokens",
        model=_tiny(vocabulary_size=512),
        optimizer=replace(PYDOC.optimizer, learning_rate=3e-3),
        batch_size=16,
        length=64,
        steps=1200,
    ),
    GPT2,
    _small(
        GPT2,
        "GPT-nano on articles of Wikipedia, BPE of 2,048 tokens",
        model=_tiny(vocabulary_size=2048),
        optimizer=replace(GPT2.optimizer, learning_rate=3e-3),
        training=replace(GPT2.training, accumulate=1),
        batch_size=16,
        length=64,
        steps=1200,
        samples=SamplesConfig(PROMPTS, tokens=30),
    ),
    SHAKESPEARE,
    _small(
        SHAKESPEARE,
        "GPT of 4 layers on the characters of Shakespeare",
        model=_model(replace(PRESETS["micro"], dropout=0.0)),
        batch_size=12,
        length=64,
        steps=2000,
        evaluate_every=250,
        checkpoint_every=500,
        samples=SamplesConfig(tokens=100, top_k=None),
    ),
)
