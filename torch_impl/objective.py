"""The loss of a model as a function of named weights: what a backend differentiates. Twin: jax_impl/objective.py."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared import rng
from shared.backend import Metrics
from shared.configs.experiment import ModelConfig
from shared.registry import find_twin
from torch_impl.build import build_twin
from torch_impl.dropout import seed_dropout
from torch_impl.losses import cross_entropy, predicted_classes, weighted_mean
from torch_impl.optimizer import Tensors
from torch_impl.weights import parameter_shapes, to_numpy, to_tensor


class Objective:
    """A model without memory, whose weights, by name, are an argument of every method."""

    def __init__(self, model: ModelConfig, device: torch.device, dtype: str, dropout_rng: str):
        self.model = model
        self.device = device
        self.dtype = dtype
        self.dropout_rng = dropout_rng
        self.buffers, self.structure = _make_module(model, device)
        self.shapes = parameter_shapes(self.structure)

    def gradients(self, weights: Tensors, batch: Tensors, key: rng.Key) -> tuple[Tensors, Metrics]:
        """Gradients of the loss by name, with the metrics."""
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        loss, accuracy = self.loss(weights, batch, key)
        gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        metrics = {"loss": loss.detach(), "accuracy": accuracy}
        return dict(zip(weights, gradients, strict=True)), metrics

    def loss(self, weights: Tensors, batch: Tensors, key: rng.Key) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Weighted means over the real rows: cross-entropy and accuracy."""
        logits = self.logits(weights, batch, key)
        correct = predicted_classes(logits) == batch["labels"]
        losses = cross_entropy(logits, batch["labels"])
        return weighted_mean(losses, batch["weights"]), weighted_mean(correct, batch["weights"])

    def logits(self, weights: Tensors, batch: Tensors, key: rng.Key | None) -> Float[Tensor, "B C"]:
        """Scores from the weights in the run's dtype; the dropout masks of `key`, or no dropout without one."""
        compute = {name: weight.to(getattr(torch, self.dtype)) for name, weight in weights.items()}
        inputs = tuple(batch[name] for name in self.model.inputs)
        self.structure.train(key is not None)
        seed_dropout(self.structure, key, self.dropout_rng)
        return torch.func.functional_call(self.structure, {**compute, **self.buffers}, inputs)

    @torch.no_grad()
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """Losses and predictions of each row, without dropout."""
        logits = self.logits(weights, batch, None)
        return {"losses": cross_entropy(logits, batch["labels"]), "predictions": predicted_classes(logits)}

    def to_canonical(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Tensors of the weights' names and shapes as arrays in canonical layouts; a copy."""
        return {name: to_numpy(tensor) for name, tensor in tensors.items()}

    def from_canonical(self, arrays: dict[str, np.ndarray]) -> Tensors:
        """The inverse of `to_canonical`, on the device."""
        return {name: to_tensor(array, self.device) for name, array in arrays.items()}


def _make_module(model: ModelConfig, device: torch.device) -> tuple[Tensors, nn.Module]:
    """Buffers on the device, and the module without memory: its weights live in the state."""
    module = build_twin(find_twin(model.twin), model.arguments)
    return {name: buffer.to(device) for name, buffer in module.named_buffers()}, module.to("meta")
