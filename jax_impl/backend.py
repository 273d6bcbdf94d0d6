"""Training with JAX: parameters, optimiser state, device, compilation and precision. Twin: torch_impl/backend.py."""

import functools
import time
from collections.abc import Callable
from typing import Any

import flax
import jax
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float

from jax_impl.build import build_twin, empty_twin
from jax_impl.dropout import seed_dropout
from jax_impl.losses import cross_entropy, predicted_classes, weighted_mean
from jax_impl.optimizer import AdamW, Tensors
from jax_impl.precision import use_exact_matmul
from jax_impl.weights import parameter_shapes, to_numpy, to_tensor
from shared import rng, training_state
from shared.backend import Batch, Metrics, State
from shared.configs.experiment import AdamWConfig, ModelConfig
from shared.errors import IsogradError
from shared.process_memory import process_memory
from shared.registry import find_twin
from shared.weight_rules import canonical_name, from_canonical, to_canonical


def _compiled(donate: tuple[int, ...]) -> Callable[[Callable], Callable]:
    """Compile a method once per shape of the batch and add up the seconds; `donate` gives arguments away by number."""

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        def run(self: "Backend", tensors: Any, batch: Tensors, *others: Any) -> Any:
            executables = vars(self).setdefault("executables", {})
            signature = (method.__name__, *(array.shape for array in batch.values()))
            if signature not in executables:
                start = time.perf_counter()
                jitted = jax.jit(functools.partial(method, self), donate_argnums=donate)
                executables[signature] = jitted.lower(tensors, batch, *others).compile()
                self.compile_seconds += time.perf_counter() - start
            return executables[signature](tensors, batch, *others)

        return run

    return decorate


class Backend:
    """What the runner trains with; the protocol is in shared/backend.py.

    A state is {"weights", "exp_avg", "exp_avg_sq": name -> tensor, "step": updates so far}; `train_step` uses it up.
    """

    name = "jax"

    def __init__(self, *, model: ModelConfig, optimizer: AdamWConfig, seed: int, dtype: str, device: str):
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        if dtype != "bfloat16":
            use_exact_matmul()
        self.device = find_device(device)
        self.model = model
        self.optimizer = AdamW(optimizer)
        self.seed = seed
        self.dtype = dtype
        self.compile_seconds = 0.0
        self.buffers, self.structure = _make_module(model, self.device)
        self.shapes = parameter_shapes(self.structure)

    def init_state(self) -> State:
        """Initial weights by (seed, parameter name), zero moments, step 0."""
        dtype = training_state.MASTER_DTYPES[self.dtype]
        return self.state_from_arrays(training_state.initial_arrays(self.shapes, self.seed, dtype))

    def train_step(self, state: State, batch: Batch, learning_rate: float) -> tuple[State, Metrics]:
        """One update; metrics: loss (mean over the real rows), accuracy and gradient_norm, all before the update."""
        step = state["step"]
        key = np.array(rng.fold_in(rng.key_from_seed(self.seed), step), np.uint32)
        coefficients = self.optimizer.coefficients(step + 1, learning_rate)
        coefficients = np.array(coefficients, training_state.MASTER_DTYPES[self.dtype])
        tensors = {group: state[group] for group in training_state.GROUPS}
        tensors, metrics = self.update(tensors, self.to_device(batch), key, coefficients)
        return {**tensors, "step": step + 1}, metrics

    def eval_step(self, state: State, batch: Batch) -> Metrics:
        """Without dropout: losses (B,) and predictions (B,)."""
        return self.evaluate(state["weights"], self.to_device(batch))

    @_compiled(donate=(0,))
    def update(
        self, tensors: dict[str, Tensors], batch: Tensors, key: Array, coefficients: Array
    ) -> tuple[dict[str, Tensors], Metrics]:
        """The part of `train_step` that runs on the device."""
        weights, exp_avg, exp_avg_sq = (tensors[group] for group in training_state.GROUPS)
        gradients, metrics = self.gradients(weights, batch, key)
        updated = self.optimizer.update(weights, gradients, exp_avg, exp_avg_sq, coefficients)
        return dict(zip(training_state.GROUPS, updated, strict=True)), metrics

    @_compiled(donate=())
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """The part of `eval_step` that runs on the device."""
        logits = self.logits(weights, batch, None)
        return {"losses": cross_entropy(logits, batch["labels"]), "predictions": predicted_classes(logits)}

    def gradients(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Tensors, Metrics]:
        """Gradients of the loss by name, with the metrics."""
        (loss, accuracy), gradients = jax.value_and_grad(self.loss, has_aux=True)(weights, batch, key)
        metrics = {"loss": loss, "accuracy": accuracy, "gradient_norm": optax.tree.norm(gradients)}
        return gradients, metrics

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
        seed_dropout(module, key)
        return module(*inputs)

    def to_device(self, batch: Batch) -> Tensors:
        """Copies of the entries that the model and the loss need."""
        return {name: to_tensor(batch[name], self.device) for name in (*self.model.inputs, "labels", "weights")}

    def fetch(self, metrics: Metrics) -> dict[str, np.ndarray]:
        """Wait for the device and copy metrics to the host."""
        return {name: to_numpy(value) for name, value in metrics.items()}

    def state_to_arrays(self, state: State) -> dict[str, np.ndarray]:
        """weights/NAME, exp_avg/NAME, exp_avg_sq/NAME in canonical names and layouts, and step; a copy."""
        groups = {group: _to_canonical(self.structure, state[group]) for group in training_state.GROUPS}
        return training_state.join(groups, state["step"])

    def state_from_arrays(self, arrays: dict[str, np.ndarray]) -> State:
        """The inverse of `state_to_arrays`, a copy; arrays may come from the other backend, or raise IsogradError."""
        dtype = training_state.MASTER_DTYPES[self.dtype]
        groups = training_state.split(arrays, self.shapes, dtype, self.model.twin)
        tensors = {group: _from_canonical(self.structure, groups[group], self.device) for group in groups}
        return {**tensors, "step": int(arrays["step"])}

    def memory(self) -> dict[str, int]:
        """steady_bytes and peak_bytes: of the device where it says, of the process on a CPU."""
        if self.device.platform == "cpu":
            return process_memory()
        statistics = self.device.memory_stats()
        return {"steady_bytes": statistics["bytes_in_use"], "peak_bytes": statistics["peak_bytes_in_use"]}

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""
        versions = {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}
        return {"backend": self.name, **versions, "device": self.device.device_kind, "dtype": self.dtype}


def find_device(device: str) -> jax.Device:
    """The device of that name; IsogradError if JAX has none."""
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise IsogradError(
            f"--device {device} was asked for, and JAX {jax.__version__} finds only {jax.default_backend()}: "
            "pip install 'jax[cuda13]' and the driver of the GPU, or use --device cpu"
        ) from error


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


def _to_canonical(structure: nnx.Module, tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: to_canonical(path, to_numpy(tensors[name])) for name, path in _paths(structure).items()}


def _from_canonical(structure: nnx.Module, arrays: dict[str, np.ndarray], device: jax.Device) -> Tensors:
    return {name: to_tensor(from_canonical(path, arrays[name]), device) for name, path in _paths(structure).items()}
