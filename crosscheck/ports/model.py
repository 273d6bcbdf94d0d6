"""A model of transformers in both frameworks, as a row: its names, a small config, the inputs, and how they pair."""

import importlib
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

BATCH, LENGTH, VOCABULARY, SIZE, CHANNELS = 2, 11, 37, 12, 3
SCALE = 0.3  # of random weights, norms' own included: a lost one shows
PADDED = 7  # the first example's length
FIRST_POSITION = 2  # RoBERTa's own: below it is the row of padding, which Flax trains and PyTorch does not

DECODER = ("input_ids", "attention_mask", "position_ids")


@dataclass(frozen=True)
class Model:
    """A row: transformers' folder and class, its config, the arguments that each side takes, and the rules.

    `arguments` are names in arguments() that both sides take, `given` other values for them, `of_jax` constants of the
    Flax side. `bug` says what is wrong with a port as it was published.
    `dtype` is float32 where both sides hold tables of angles that are made in float32 whatever the module's dtype.
    """

    name: str
    folder: str
    type: str
    config: dict[str, Any]
    arguments: tuple[str, ...]
    given: dict[str, np.ndarray] = field(default_factory=dict)
    of_jax: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, str | None] = field(default_factory=dict)
    dtype: str = "float64"
    bug: str = ""

    @property
    def is_vision(self) -> bool:
        return self.arguments == ("pixel_values",)

    @property
    def is_causal(self) -> bool:
        return self.arguments == DECODER


class Ported(NamedTuple):
    """Both modules with equal weights, the inputs, and the options of compare."""

    torch: Any
    jax: Any
    inputs: dict[str, np.ndarray]
    options: dict[str, Any]


def arguments() -> dict[str, np.ndarray]:
    """What models take, by transformers' names; the first example is padded."""
    random = np.random.default_rng(0)
    mask = np.ones((BATCH, LENGTH), np.int64)
    mask[0, PADDED:] = 0
    return {
        "input_ids": random.integers(2, VOCABULARY, (BATCH, LENGTH)),
        "pixel_values": random.normal(size=(BATCH, CHANNELS, SIZE, SIZE)),
        "attention_mask": mask,
        "token_type_ids": np.broadcast_to(np.arange(LENGTH) > PADDED // 2, mask.shape).astype(np.int64),
        "position_ids": FIRST_POSITION + np.broadcast_to(np.arange(LENGTH), mask.shape),
    }


def flax_source(model: Model) -> Any:
    """transformers' module that holds the Flax side."""
    return importlib.import_module(f"transformers.models.{model.folder}.modeling_flax_{model.folder}")


def build(model: Model, config: dict[str, Any], given: dict[str, np.ndarray]) -> Ported:
    """The pair with equal weights; `config` and `given` change the Flax side's config and arguments."""
    import torch
    import transformers

    configure = getattr(transformers, f"{model.type.removesuffix('Model')}Config")
    torch.manual_seed(0)
    ours = getattr(transformers, model.type)(configure(**model.config, attn_implementation="eager"))
    kept = [rule for rule, name in model.rules.items() if name is None]  # such as a table of sinusoids
    ours = randomised(ours, kept).to(getattr(torch, model.dtype)).eval()
    theirs = _flax(model, configure(**model.config | config), ours)
    shared, torch_arguments, jax_arguments = _shared(model)
    own = {"torch_arguments": torch_arguments, "jax_arguments": jax_arguments | model.of_jax | given}
    return Ported(ours, theirs, shared, {"rules": model.rules, "widen": model.dtype == "float64", **own})


def _shared(model: Model) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The inputs that both sides take alike, and each side's own arguments: Flax's images have channels last."""
    import torch

    values = {name: arguments()[name] for name in model.arguments} | model.given
    if model.is_vision:
        images = values["pixel_values"].astype(model.dtype)
        return {}, {"pixel_values": torch.tensor(images)}, {"pixel_values": images.transpose(0, 2, 3, 1).copy()}
    ids = {"input_ids": values.pop("input_ids")}
    return ids, {name: torch.tensor(array) for name, array in values.items()}, values


def randomised(module: Any, kept: list[str]) -> Any:
    """The torch module with random numbers in every running statistic and weight, those that match `kept` left out."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if any(re.search(rule, name) for rule in kept):
                continue
            parameter.add_(SCALE * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(SCALE * torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.mul_(1 + torch.rand_like(buffer))
    return module


def _flax(model: Model, config: Any, ours: Any) -> Any:
    """The Flax module, bound to the torch module's weights."""
    import jax.numpy as jnp
    import transformers

    from crosscheck.pairing.copy_weights import copy_weights

    shape = {"input_shape": (1, SIZE, SIZE, CHANNELS)} if model.is_vision else {}
    made = getattr(transformers, f"Flax{model.type}")(config, dtype=jnp.dtype(model.dtype), **shape)
    variables = made.params if "params" in made.params else {"params": made.params}
    return copy_weights(ours, (made.module, variables), model.rules)
