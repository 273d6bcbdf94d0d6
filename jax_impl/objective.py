"""The loss of a model as a function of named weights: what a backend differentiates. Twin: torch_impl/objective.py."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.build import build_twin, empty_twin
from jax_impl.dropout import seed_dropout
from jax_impl.losses import cross_entropy, predicted_classes, weighted_mean
from jax_impl.optimizer import Tensors
from jax_impl.weights import parameter_shapes, to_numpy, to_tensor
from shared.backend import Metrics
from shared.configs.experiment import ModelConfig
from shared.registry import find_twin
from shared.weight_rules import canonical_name, from_canonical, to_canonical


class Objective:
    """A model without memory, whose weights, by name, are an argument of every method."""

    def __init__(self, model: ModelConfig, device: jax.Device, dtype: str, dropout_rng: str):
        self.model = model
        self.device = device
        self.dtype = dtype
        self.dropout_rng = dropout_rng
        self.buffers, self.structure = _make_module(model, device)
        self.shapes = parameter_shapes(self.structure)

    def gradients(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Tensors, Metrics]:
        """Gradients of the loss by name, with the metrics."""
        (loss, accuracy), gradients = jax.value_and_grad(self.loss, has_aux=True)(weights, batch, key)
        return gradients, {"loss": loss, "accuracy": accuracy}

    def loss(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Weighted means over the real rows: cross-entropy and accuracy."""
        logits = self.logits(weights, batch, key)
        correct = predicted_classes(logits) == batch["labels"]
        losses = cross_entropy(logits, batch["labels"])
        return weighted_mean(losses, batch["weights"]), weighted_mean(correct, batch["weights"])

    def logits(self, weights: Tensors, batch: Tensors, key: Array | None) -> Float[Array, "B C"]:
        """Scores from the weights in the run's dtype; the dropout masks of `key`, or no dropout without one."""
        compute = {name: weight.astype(self.dtype) for name, weight in weights.items()}
        inputs = tuple(batch[name] for name in self.model.inputs)
        module = _with_weights(self.structure, compute, self.buffers)
        module.eval() if key is None else module.train()
        seed_dropout(module, key, self.dropout_rng)
        return module(*inputs)

    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """Losses and predictions of each row, without dropout."""
        logits = self.logits(weights, batch, None)
        return {"losses": cross_entropy(logits, batch["labels"]), "predictions": predicted_classes(logits)}

    def to_canonical(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Tensors of the weights' names and shapes as arrays in canonical layouts; a copy."""
        return {name: to_canonical(path, to_numpy(tensors[name])) for name, path in _paths(self.structure).items()}

    def from_canonical(self, arrays: dict[str, np.ndarray]) -> Tensors:
        """The inverse of `to_canonical`, on the device."""
        paths = _paths(self.structure)
        return {name: to_tensor(from_canonical(path, arrays[name]), self.device) for name, path in paths.items()}


def _make_module(model: ModelConfig, device: jax.Device) -> tuple[Any, nnx.Module]:
    """All that is not a weight on the device, and the module without memory: its weights live in the state."""
    twin = find_twin(model.twin)
    buffers = nnx.state(empty_twin(twin, model.arguments, device), nnx.Not(nnx.Param))
    return buffers, build_twin(twin, model.arguments, abstract=True)


def _with_weights(structure: nnx.Module, weights: Tensors, buffers: Any) -> nnx.Module:
    graph, _, _ = nnx.split(structure, nnx.Param, ...)
    parameters = {path: nnx.Param(weights[name]) for name, path in _paths(structure).items()}
    return nnx.merge(graph, nnx.from_flat_state(parameters), buffers)


def _paths(structure: nnx.Module) -> dict[str, tuple[str | int, ...]]:
    flat = nnx.to_flat_state(nnx.state(structure, nnx.Param))
    return {canonical_name(path): path for path, _ in flat}
