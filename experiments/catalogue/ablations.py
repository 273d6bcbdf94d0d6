"""Ablations of a GPT's attention: each differs from the plain model in one setting and trains by the same budget."""

from dataclasses import replace

from experiments.catalogue.language_models import LANGUAGE_MODELS
from shared.configs.experiment import Experiment
from shared.configs.optimizer import ScheduleConfig

LENGTH, LONGEST = 32, 4  # tokens of a training window; the context is this many times as long
PLAIN = "plain"
ABLATIONS: dict[str, tuple[str, dict[str, str]]] = {  # name -> title, the setting that differs
    PLAIN: ("the plain model", {}),
    "cosine": ("the cosine of queries and keys", {"similarity": "cosine"}),
    "distance": ("minus the squared distance of queries and keys", {"similarity": "distance"}),
    "additive": ("the sum of tanh(q + k)", {"similarity": "additive"}),
    "shared-kv": ("keys that are the values", {"shared": "kv"}),
    "shared-qk": ("queries that are the keys", {"shared": "qk"}),
    "shared-qkv": ("one projection for all", {"shared": "qkv"}),
    "sinusoidal": ("sinusoidal positions", {"positions": "sinusoidal"}),
    "rotary": ("rotary positions", {"positions": "rotary"}),
    "no-positions": ("no positions", {"positions": "none"}),
    "nonlinear": ("queries, keys and values by GELU", {"projection": "nonlinear"}),
    "mlp": ("queries, keys and values by an MLP each", {"projection": "mlp"}),
    "attention-free": ("AFT-full, without scores", {"attention": "attention_free"}),
    "attention-free-simple": ("AFT-simple, in linear time", {"attention": "attention_free_simple"}),
    "random-features": ("FAVOR+, in linear time", {"attention": "random_features"}),
    "zeroed": ("zeros after the softmax, which leak", {"attention": "zeroed"}),
}


def _ablation(name: str, title: str, changes: dict[str, str]) -> Experiment:
    (small,) = (experiment for experiment in LANGUAGE_MODELS if experiment.name == "lm-pydoc-small")
    arguments = {**small.model.arguments, "sequence_length": LONGEST * LENGTH, "num_layers": 2, **changes}
    return replace(
        small,
        name=f"ablation-{name}",
        title=f"GPT of 2 layers on Python's reference, {title}",
        model=replace(small.model, arguments=arguments),
        schedule=ScheduleConfig("cosine", warmup=20, final=0.1),
        length=LENGTH,
        steps=600,
    )


ABLATED = tuple(_ablation(name, *row) for name, row in ABLATIONS.items())
