"""The loss of a model as a function of named weights: what a backend differentiates. Twin: torch_impl/objective.py."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.build import build_twin, empty_twin
from jax_impl.layer_keys import give_keys
from jax_impl.losses import LOSSES, weighted_mean
from jax_impl.optimizer import Tensors
from jax_impl.precision import at_least_float32
from jax_impl.weights import parameter_shapes, to_numpy, to_tensor
from shared.backend import Metrics
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import TrainingConfig
from shared.configs.validation import check_choice
from shared.parameter_groups import trainable_shapes
from shared.registry import find_twin
from shared.weight_rules import canonical_name, from_canonical, to_canonical


class Objective:
    """A stateless model: every method takes its weights, by name, as an argument."""

    def __init__(self, model: ModelConfig, loss: str, device: jax.Device, dtype: str, training: TrainingConfig):
        check_choice("loss", loss, LOSSES)
        self.model = model
        self.score = LOSSES[loss]
        self.device = device
        self.dtype = dtype
        self.dropout_rng = training.dropout_rng
        self.buffers, self.structure = _make_module(model, device)
        self.shapes = parameter_shapes(self.structure)
        self.trainable = trainable_shapes(self.shapes, training.groups)

    def gradients(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Tensors, Metrics]:
        """Gradients of the loss with respect to the trainable weights, by name, and the metrics."""

        def loss_of(trainable: Tensors) -> tuple[Float[Array, ""], Metrics]:
            return self.loss({**weights, **trainable}, batch, key)

        trainable = {name: weights[name] for name in self.trainable}
        (loss, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        return gradients, {"loss": loss, **metrics}

    def loss(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Float[Array, ""], Metrics]:
        """The loss and the other metrics of its row of LOSSES, as weighted means."""
        losses, _, shown = self.score(self.outputs(weights, batch, key), batch)
        metrics = {name: weighted_mean(values, batch["weights"]) for name, values in shown.items()}
        return weighted_mean(losses, batch["weights"]), metrics

    def outputs(self, weights: Tensors, batch: Tensors, key: Array | None) -> Any:
        """The model's outputs in the run's dtype, with the dropout masks of the layers' keys, or without if None."""
        compute = {name: weight.astype(self.dtype) for name, weight in weights.items()}
        inputs = tuple(batch[name] for name in self.model.inputs)
        module = _with_weights(self.structure, compute, self.buffers)
        module.eval() if key is None else module.train()
        if key is not None:
            give_keys(module, key, self.dropout_rng)
        return _tracing_equal_layers_once(module)(*inputs)

    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """Losses and predictions, shaped like the batch's weights, without dropout."""
        losses, predictions, _ = self.score(self.outputs(weights, batch, None), batch)
        return {"losses": losses, "predictions": predictions}

    def logits(self, weights: Tensors, batch: Tensors) -> Float[Array, "*N C"]:
        """The outputs without dropout, in float32 at least."""
        return at_least_float32(self.outputs(weights, batch, key=None))

    def to_canonical(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Tensors of the weights' names and shapes as arrays in canonical layouts; a copy."""
        paths = _paths(self.structure)
        return {name: to_canonical(paths[name], to_numpy(tensor)) for name, tensor in tensors.items()}

    def from_canonical(self, arrays: dict[str, np.ndarray]) -> Tensors:
        """The inverse of `to_canonical`, on the device."""
        paths = _paths(self.structure)
        return {name: to_tensor(from_canonical(paths[name], array), self.device) for name, array in arrays.items()}


def _make_module(model: ModelConfig, device: jax.Device) -> tuple[Any, nnx.Module]:
    """All non-weights on the device, and the abstract module: its weights live in the state."""
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


def _tracing_equal_layers_once(module: nnx.Module) -> nnx.Module:
    """The module, its lists' layers traced once: tracing is most of what a program that is kept between runs costs."""
    trace = object()  # part of a layer's structure, so that no other trace is reused, which may be of other code
    for _, inner in list(nnx.iter_modules(module)):
        for layers in [value for value in vars(inner).values() if isinstance(value, nnx.List)]:
            for layer in layers:
                layer.traced_in = trace
                object.__setattr__(layer, "__class__", _traced_once(type(layer)))
    return module


@functools.cache
def _traced_once(layer: type) -> type:
    """The class of layers whose call JAX traces once for all that have the same structure and shapes."""

    class TracedOnce(layer):
        def __call__(self, *inputs: Any) -> Any:
            return called(*nnx.split(self), *inputs)

    @functools.partial(jax.jit, static_argnums=0)
    def called(structure: Any, state: Any, *inputs: Any) -> Any:
        return layer.__call__(nnx.merge(structure, state), *inputs)

    return TracedOnce
