"""Mistakes planted in the Flax side of a model: in its config, its arguments, or a function that its file imports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosscheck.ports.model import Model, flax_source

EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")
ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation")
OTHER_ACTIVATION = {"gelu": "gelu_new"}  # the tanh approximation for the exact one; for any other, the exact one
EPSILON = 1e-3


@dataclass(frozen=True)
class Mistake:
    """A row: the words that a module at fault has one of in its path, and the catalogue's ids that name it.

    `config` are (the keys of which a config has one, the value there -> the wrong value); `arguments` are wrong
    arguments; `function` is a name in the Flax file with a function that makes the wrong one of the right one.
    """

    name: str
    places: tuple[str, ...]
    ids: tuple[str, ...]
    config: tuple[tuple[str, ...], Callable[[Any], Any]] | None = None
    arguments: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    function: tuple[str, Callable[[Callable], Callable]] | None = None

    def fits(self, model: Model, config: Any) -> bool:
        """True if the model has what the mistake changes."""
        has_key = self.config is None or bool(self.key(config))
        has_function = self.function is None or hasattr(flax_source(model), self.function[0])
        is_causal = self.function is None or self.function[0] != "make_causal_mask" or model.is_causal
        return has_key and has_function and is_causal and not model.bug and set(self.arguments) <= set(model.arguments)

    def key(self, config: Any) -> str:
        """The key of the config that the mistake changes, or nothing."""
        keys = self.config[0] if self.config else ()
        return next((key for key in keys if isinstance(getattr(config, key, None), str | float)), "")


def _without_scale(right: Callable) -> Callable:
    return lambda query, *rest, **options: right(query * query.shape[-1] ** 0.5, *rest, **options)


def _one_ahead(right: Callable) -> Callable:
    import jax.numpy as jnp

    return lambda x, **options: jnp.tril(jnp.ones_like(right(x, **options)), 1)


ROWS = (
    Mistake("epsilon", ("norm", "ln_"), ("D18", "D19"), config=(EPSILONS, lambda right: EPSILON)),
    Mistake(
        "activation",
        ("intermediate", "mlp", "ffn", "activation", "pooler", "albert_layers"),
        ("D24", "D89"),
        config=(ACTIVATIONS, lambda right: OTHER_ACTIVATION.get(right, "gelu")),
    ),
    Mistake("mask forgotten", ("att",), ("D79",), arguments={"attention_mask": np.ones_like}),
    Mistake("no scale", ("att",), ("D80",), function=("dot_product_attention_weights", _without_scale)),
    Mistake("one token ahead", ("att",), ("D78",), function=("make_causal_mask", _one_ahead)),
)
MISTAKES = {row.name: row for row in ROWS}
