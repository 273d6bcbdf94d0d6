"""The loss of a model as a function of named weights: what a backend differentiates. Twin: jax_impl/objective.py."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared import rng
from shared.backend import Metrics
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import TrainingConfig
from shared.configs.validation import check_choice
from shared.parameter_groups import trainable_shapes
from shared.registry import find_twin
from torch_impl.build import build_twin
from torch_impl.dropout import seed_dropout
from torch_impl.layer_keys import give_keys
from torch_impl.losses import LOSSES, weighted_mean
from torch_impl.optimizer import Tensors
from torch_impl.precision import at_least_float32
from torch_impl.weights import parameter_shapes, to_numpy, to_tensor

Key = rng.Key | Tensor  # the key of a step, or those of its dropout layers (see `layer_keys`) on a GPU

SHAPES = 64  # of batches and models that one process may train


class Objective:
    """A stateless model: every method takes its weights, by name, as an argument."""

    def __init__(self, model: ModelConfig, loss: str, device: torch.device, dtype: str, training: TrainingConfig):
        check_choice("loss", loss, LOSSES)
        self.model = model
        self.score = LOSSES[loss]
        self.device = device
        self.dtype = dtype
        self.dropout_rng = training.dropout_rng
        self.buffers, self.structure = _make_module(model, device)
        self.shapes = parameter_shapes(self.structure)
        self.trainable = trainable_shapes(self.shapes, training.groups)

    def gradients(self, weights: Tensors, batch: Tensors, key: Key) -> tuple[Tensors, Metrics]:
        """Gradients of the loss with respect to the trainable weights, by name, and the metrics."""
        weights = {name: weight.detach().requires_grad_(name in self.trainable) for name, weight in weights.items()}
        trainable = {name: weights[name] for name in self.trainable}
        loss, metrics = (_compiled(self.loss) if self.device.type == "cuda" else self.loss)(weights, batch, key)
        gradients = torch.autograd.grad(loss, list(trainable.values()), materialize_grads=True)
        return dict(zip(trainable, gradients, strict=True)), {"loss": loss.detach(), **metrics}

    def loss(self, weights: Tensors, batch: Tensors, key: Key) -> tuple[Float[Tensor, ""], Metrics]:
        """The loss and the other metrics of its row of LOSSES, as weighted means."""
        losses, _, shown = self.score(self.outputs(weights, batch, key), batch)
        metrics = {name: weighted_mean(values, batch["weights"]) for name, values in shown.items()}
        return weighted_mean(losses, batch["weights"]), metrics

    def outputs(self, weights: Tensors, batch: Tensors, key: Key | None) -> Any:
        """The model's outputs in the run's dtype, with the dropout masks of `key`, or without dropout if None."""
        compute = {name: weight.to(getattr(torch, self.dtype)) for name, weight in weights.items()}
        inputs = tuple(batch[name] for name in self.model.inputs)
        self.structure.train(key is not None)
        if isinstance(key, Tensor):
            give_keys(self.structure, key, self.dropout_rng)
        else:
            seed_dropout(self.structure, key, self.dropout_rng)
        return torch.func.functional_call(self.structure, {**compute, **self.buffers}, inputs)

    @torch.no_grad()
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """Losses and predictions, shaped like the batch's weights, without dropout."""
        losses, predictions, _ = self.score(self.outputs(weights, batch, None), batch)
        return {"losses": losses, "predictions": predictions}

    @torch.no_grad()
    def logits(self, weights: Tensors, batch: Tensors) -> Float[Tensor, "*N C"]:
        """The outputs without dropout, in float32 at least."""
        return at_least_float32(self.outputs(weights, batch, key=None))

    def to_canonical(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Tensors of the weights' names and shapes as arrays in canonical layouts; a copy."""
        return {name: to_numpy(tensor) for name, tensor in tensors.items()}

    def from_canonical(self, arrays: dict[str, np.ndarray]) -> Tensors:
        """The inverse of `to_canonical`, on the device."""
        return {name: to_tensor(array, self.device) for name, array in arrays.items()}


def _compiled(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled for each model and shape of a batch: beyond 8 of them, torch's default, it would run uncompiled."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SHAPES)
    return torch.compile(loss, dynamic=False)


def _make_module(model: ModelConfig, device: torch.device) -> tuple[Tensors, nn.Module]:
    """Buffers on the device, and the abstract module: its weights live in the state."""
    module = build_twin(find_twin(model.twin), model.arguments)
    return {name: buffer.to(device) for name, buffer in module.named_buffers()}, module.to("meta")
