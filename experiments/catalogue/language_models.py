"""Language models, SPEC.md E2: GPTs, each also scaled down for a CPU."""

from dataclasses import asdict
from typing import Any

from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.gpt import GPTConfig
from shared.configs.optimizer import AdamWConfig, ParameterGroup, ScheduleConfig, TrainingConfig

UNDECAYED = ParameterGroup(("*.bias", "*norm.weight", "*embedding.weight"), weight_decay=0.0)


def _model(**sizes: Any) -> ModelConfig:
    """None marks sizes that follow from the vocabulary and the window: see shared/tasks/language_modelling.py."""
    config = GPTConfig(**sizes)
    open_sizes = {"vocabulary_size": None, "sequence_length": None}
    arguments = {**asdict(config), **open_sizes, "hidden_dim": config.feed_forward_dim}
    return ModelConfig("GPT", arguments, inputs=("ids",))


def _experiment(name: str, title: str, dataset: str, model: ModelConfig, rate: float, **rest: Any) -> Experiment:
    return Experiment(
        name=name,
        title=title,
        dataset=dataset,
        model=model,
        optimizer=AdamWConfig(learning_rate=rate, beta_1=0.9, beta_2=0.99, eps=1e-8, weight_decay=0.1),
        training=TrainingConfig(clip_norm=1.0, groups=(UNDECAYED,)),
        schedule=ScheduleConfig("cosine", warmup=100, final=0.1),
        task="language_modelling",
        **rest,
    )


LANGUAGE_MODELS = (
    _experiment(
        "lm-pydoc-small",
        "GPT-nano on Python's reference, BPE of 512 tokens, small",
        "pydoc",
        _model(num_layers=3, num_heads=3, embed_dim=48, dropout=0.0),
        3e-3,
        batch_size=16,
        length=64,
        steps=1200,
        evaluate_every=200,
        checkpoint_every=400,
    ),
    _experiment(
        "lm-shakespeare-char",
        "GPT of 6 layers on the characters of Shakespeare",
        "tinyshakespeare",
        _model(num_layers=6, num_heads=6, embed_dim=384, dropout=0.2),
        1e-3,
        batch_size=64,
        length=256,
        steps=5000,
        evaluate_every=250,
        checkpoint_every=1000,
    ),
    _experiment(
        "lm-shakespeare-char-small",
        "GPT of 4 layers on the characters of Shakespeare, small",
        "tinyshakespeare",
        _model(num_layers=4, num_heads=4, embed_dim=128, dropout=0.0),
        1e-3,
        batch_size=12,
        length=64,
        steps=2000,
        evaluate_every=250,
        checkpoint_every=500,
    ),
)
