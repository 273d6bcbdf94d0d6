"""Training with PyTorch: parameters, optimiser state, device, compilation and precision. Twin: jax_impl/backend.py."""

import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared import rng, training_state
from shared.backend import Batch, Metrics, State
from shared.configs.experiment import AdamWConfig, ModelConfig
from shared.errors import IsogradError
from shared.process_memory import process_memory
from shared.registry import find_twin
from torch_impl.build import build_twin
from torch_impl.dropout import seed_dropout
from torch_impl.losses import cross_entropy, predicted_classes, weighted_mean
from torch_impl.optimizer import AdamW, Tensors
from torch_impl.precision import use_exact_matmul
from torch_impl.random_bits import random_bits
from torch_impl.weights import parameter_shapes, to_numpy, to_tensor


class Backend:
    """What the runner trains with; the protocol is in shared/backend.py.

    A state is {"weights", "exp_avg", "exp_avg_sq": name -> tensor, "step": updates so far}; `train_step` uses it up.
    """

    name = "torch"

    def __init__(self, *, model: ModelConfig, optimizer: AdamWConfig, seed: int, dtype: str, device: str):
        if dtype != "bfloat16":
            use_exact_matmul()
        self.device = find_device(device)
        self.model = model
        self.optimizer = AdamW(optimizer)
        self.seed = seed
        self.dtype = dtype
        self.compile_seconds = _compile_seconds(self.device)
        self.buffers, self.structure = _make_module(model, self.device)
        self.shapes = parameter_shapes(self.structure)

    def init_state(self) -> State:
        """Initial weights by (seed, parameter name), zero moments, step 0."""
        dtype = training_state.MASTER_DTYPES[self.dtype]
        return self.state_from_arrays(training_state.initial_arrays(self.shapes, self.seed, dtype))

    def train_step(self, state: State, batch: Batch, learning_rate: float) -> tuple[State, Metrics]:
        """One update; metrics: loss (mean over the real rows), accuracy and gradient_norm, all before the update."""
        step = state["step"]
        key = rng.fold_in(rng.key_from_seed(self.seed), step)
        coefficients = self.optimizer.coefficients(step + 1, learning_rate)
        tensors = {group: state[group] for group in training_state.GROUPS}
        tensors, metrics = self.update(tensors, self.to_device(batch), key, coefficients)
        return {**tensors, "step": step + 1}, metrics

    def eval_step(self, state: State, batch: Batch) -> Metrics:
        """Without dropout: losses (B,) and predictions (B,)."""
        return self.evaluate(state["weights"], self.to_device(batch))

    def update(
        self, tensors: dict[str, Tensors], batch: Tensors, key: rng.Key, coefficients: tuple[float, ...]
    ) -> tuple[dict[str, Tensors], Metrics]:
        """The part of `train_step` that runs on the device."""
        weights, exp_avg, exp_avg_sq = (tensors[group] for group in training_state.GROUPS)
        gradients, metrics = self.gradients(weights, batch, key)
        updated = self.optimizer.update(weights, gradients, exp_avg, exp_avg_sq, coefficients)
        return dict(zip(training_state.GROUPS, updated, strict=True)), metrics

    @torch.no_grad()
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """The part of `eval_step` that runs on the device."""
        logits = self.logits(weights, batch, None)
        return {"losses": cross_entropy(logits, batch["labels"]), "predictions": predicted_classes(logits)}

    def gradients(self, weights: Tensors, batch: Tensors, key: rng.Key) -> tuple[Tensors, Metrics]:
        """Gradients of the loss by name, with the metrics."""
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        loss, accuracy = self.loss(weights, batch, key)
        gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        metrics = {"loss": loss.detach(), "accuracy": accuracy, "gradient_norm": nn.utils.get_total_norm(gradients)}
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
        seed_dropout(self.structure, key)
        return torch.func.functional_call(self.structure, {**compute, **self.buffers}, inputs)

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
        if self.device.type == "cpu":
            return process_memory()
        steady, peak = torch.cuda.memory_allocated(self.device), torch.cuda.max_memory_allocated(self.device)
        return {"steady_bytes": steady, "peak_bytes": peak}

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""
        device = "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)
        return {"backend": self.name, "torch": torch.__version__, "device": device, "dtype": self.dtype}


def _compile_seconds(device: torch.device) -> float:
    """Compile what a GPU compiles, the random numbers of dropout, before the clock of training runs."""
    if device.type == "cpu":
        return 0.0
    start = time.perf_counter()
    random_bits((0, 0), (1024,), device)
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def find_device(device: str) -> torch.device:
    """The device of that name; IsogradError if PyTorch has none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise IsogradError(
            f"--device cuda was asked for, and PyTorch {torch.__version__} finds only a CPU: "
            "install a CUDA build of torch and the driver of the GPU, or use --device cpu"
        )
    return torch.device(device)


def _make_module(model: ModelConfig, device: torch.device) -> tuple[Tensors, nn.Module]:
    """Buffers on the device, and the module without memory: its weights live in the state."""
    module = build_twin(find_twin(model.twin), model.arguments)
    return {name: buffer.to(device) for name, buffer in module.named_buffers()}, module.to("meta")


def _to_canonical(structure: nn.Module, tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}


def _from_canonical(structure: nn.Module, arrays: dict[str, np.ndarray], device: torch.device) -> Tensors:
    return {name: to_tensor(array, device) for name, array in arrays.items()}
