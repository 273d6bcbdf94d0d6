"""Training with PyTorch: parameters, optimiser state, device, compilation and precision. Twin: jax_impl/backend.py."""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared import rng, training_state
from shared.backend import Batch, Metrics, State
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.errors import IsogradError
from shared.process import process_memory
from torch_impl.layer_keys import layer_keys
from torch_impl.layers.fused_gru import describe_gru
from torch_impl.layers.gru import GRU, BidirectionalGRU
from torch_impl.objective import Key, Objective
from torch_impl.optimizer import Tensors
from torch_impl.precision import use_exact_matmul
from torch_impl.recorded import Recording, copied
from torch_impl.update import Groups, Update, clipped, emptied, gathered, global_norm, mean_gradients
from torch_impl.weights import to_numpy, to_tensor


def _recorded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Call a method on a GPU by a recording for each shape of the batch; add up the seconds that making them takes.

    Gradients, the first of two results, are in memory that the next call overwrites.
    """

    @functools.wraps(method)
    def run(self: "Backend", weights: Tensors, batch: Tensors, *key: Any) -> Any:
        if self.device.type == "cpu":
            return method(self, weights, batch, *key)
        recordings = vars(self).setdefault("recordings", {})
        signature = (method.__name__, *(tensor.shape for tensor in batch.values()))
        if signature not in recordings:
            start = time.perf_counter()
            others = next(iter(recordings.values()), None)
            recordings[signature] = Recording(functools.partial(method, self), (weights, batch, *key), others)
            self.compile_seconds += time.perf_counter() - start
        found = recordings[signature].lend(weights, batch, *key)
        return (found[0], copied(found[1])) if isinstance(found, tuple) else copied(found)

    return run


class Backend:
    """The training backend; the protocol is in shared/backend.py.

    A state is {"weights", ... (the groups of shared/training_state.py): name -> tensor, "step": batches so far}.
    """

    name = "torch"

    def __init__(
        self,
        *,
        model: ModelConfig,
        optimizer: OptimizerConfig,
        training: TrainingConfig,
        loss: str,
        seed: int,
        dtype: str,
        device: str,
    ):
        if dtype != "bfloat16":
            use_exact_matmul()
        self.device = find_device(device)
        self.model = model
        self.training = training
        self.seed = seed
        self.dtype = dtype
        self.compile_seconds = 0.0
        self.objective = Objective(model, loss, self.device, dtype, training)
        self.shapes = self.objective.shapes
        self.groups = training_state.groups_of(optimizer, training, self.shapes)
        self.updates = Update(optimizer, training, self.shapes)

    def init_state(self, initial: dict[str, np.ndarray] | None = None) -> State:
        """The given weights, others by (seed, parameter name), all else zero, step 0."""
        dtype = training_state.MASTER_DTYPES[self.dtype]
        return self.state_from_arrays(training_state.initial_arrays(self.groups, self.seed, dtype, initial))

    def compile_ahead(self, state: State, training: Iterable[Batch], validation: Iterable[Batch]) -> None:
        """Nothing: a graph is recorded by running its step."""

    def train_step(self, state: State, batch: Batch, learning_rate: float) -> tuple[State, Metrics]:
        """One batch, and an update after every `accumulate` of them; consumes the state. For metrics see Backend."""
        tensors, batch, key, coefficients = self.arguments(state, batch, learning_rate)
        if self.training.accumulate == 1:
            tensors, metrics = self.update(tensors, batch, key, coefficients)
        else:
            tensors, metrics = self.gather(tensors, batch, key)
            if (state["step"] + 1) % self.training.accumulate == 0:
                tensors = self.apply_gathered(tensors, coefficients)
        return {**tensors, "step": state["step"] + 1}, metrics

    def arguments(
        self, state: State, batch: Batch, learning_rate: float
    ) -> tuple[Groups, Tensors, Key, list[tuple[float, ...]]]:
        """The arguments of `update` for the state's next step."""
        coefficients = self.updates.coefficients(state["step"] // self.training.accumulate + 1, learning_rate)
        tensors = {group: value for group, value in state.items() if group != "step"}
        return tensors, self.to_device(batch), self.key(state), coefficients

    def eval_step(self, state: State, batch: Batch) -> Metrics:
        """Without dropout, by the averaged weights where there are any: losses and predictions, shaped like weights."""
        return self.evaluate(_evaluated(state), self.to_device(batch))

    def logits_of(self, state: State, batch: Batch) -> np.ndarray:
        """The outputs that `eval_step` scores, on the host, in float32 at least."""
        return to_numpy(self.forward(_evaluated(state), self.to_device(batch)))

    def gradients_of(self, state: State, batch: Batch) -> dict[str, np.ndarray]:
        """The gradients of trainable parameters, by name, that `train_step` would compute for this batch."""
        gradients, _ = self.differentiate(state["weights"], self.to_device(batch), self.key(state))
        return self.objective.to_canonical(gradients)

    def key(self, state: State) -> Key:
        """The random key of the state's next step, where native masks start; on a GPU, the keys of its layers."""
        key = rng.fold_in(rng.key_from_seed(self.seed), state["step"])
        if self.device.type == "cpu":
            return key
        keys = layer_keys(self.objective.structure, key, self.training.dropout_rng)
        return _on_its_way(keys, self.device)

    def update(
        self, tensors: Groups, batch: Tensors, key: Key, coefficients: list[tuple[float, ...]]
    ) -> tuple[Groups, Metrics]:
        """The part of a `train_step` without accumulation that runs on the device."""
        gradients, metrics = self.differentiate(tensors["weights"], batch, key)
        norm = global_norm(gradients)
        gradients = clipped(gradients, norm, self.training.clip_norm)
        return self.updates.apply(tensors, gradients, coefficients), {**metrics, "gradient_norm": norm}

    def gather(self, tensors: Groups, batch: Tensors, key: Key) -> tuple[Groups, Metrics]:
        """The same with accumulation, where gradients are summed and the weights stay as they are."""
        gradients, metrics = self.differentiate(tensors["weights"], batch, key)
        tensors = gathered(tensors, gradients, batch["weights"].sum())
        return tensors, {**metrics, "gradient_norm": global_norm(mean_gradients(tensors))}

    def apply_gathered(self, tensors: Groups, coefficients: list[tuple[float, ...]]) -> Groups:
        """The update by the summed gradients, which ends every `accumulate`-th step."""
        gradients, tensors = mean_gradients(tensors), emptied(tensors)
        gradients = clipped(gradients, global_norm(gradients), self.training.clip_norm)
        return self.updates.apply(tensors, gradients, coefficients)

    @_recorded
    def differentiate(self, weights: Tensors, batch: Tensors, key: Key) -> tuple[Tensors, Metrics]:
        """The part of `gradients_of` that runs on the device, and the metrics."""
        return self.objective.gradients(weights, batch, key)

    @_recorded
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """The part of `eval_step` that runs on the device."""
        return self.objective.evaluate(weights, batch)

    @_recorded
    def forward(self, weights: Tensors, batch: Tensors) -> Tensor:
        """The part of `logits_of` that runs on the device."""
        return self.objective.logits(weights, batch)

    def to_device(self, batch: Batch) -> Tensors:
        """The entries of a batch that the model and the loss read, on the device; those already there are kept."""
        named = {name: batch[name] for name in (*self.model.inputs, "labels", "weights")}
        return {n: a if isinstance(a, Tensor) else _on_its_way(a, self.device) for n, a in named.items()}

    def fetch(self, metrics: Metrics) -> dict[str, np.ndarray]:
        """Wait for the device and copy metrics to the host."""
        return {name: to_numpy(value) for name, value in metrics.items()}

    def snapshot(self, state: State) -> State:
        """A copy on the device that later steps leave as it is; it does not wait for the device."""
        tensors = {group: {name: tensor.clone() for name, tensor in state[group].items()} for group in self.groups}
        counts = {name: state[name].clone() for name in state if name == training_state.GATHERED}
        return {**tensors, **counts, "step": state["step"]}

    def state_to_arrays(self, state: State) -> dict[str, np.ndarray]:
        """weights/NAME, exp_avg/NAME, ... in canonical names and layouts, and the counts; a copy."""
        groups = {group: self.objective.to_canonical(state[group]) for group in self.groups}
        rows = state.get(training_state.GATHERED)
        return training_state.join(groups, state["step"], None if rows is None else to_numpy(rows))

    def state_from_arrays(self, arrays: dict[str, np.ndarray]) -> State:
        """The inverse of `state_to_arrays`, a copy; the arrays may come from the other backend. Raises IsogradError."""
        dtype = training_state.MASTER_DTYPES[self.dtype]
        groups = training_state.split(arrays, self.groups, dtype, self.model.twin)
        tensors = {group: self.objective.from_canonical(groups[group]) for group in groups}
        rows = {name: arrays[name].astype(dtype) for name in arrays if name == training_state.GATHERED}
        rows = {name: to_tensor(array, self.device) for name, array in rows.items()}
        return {**tensors, **rows, "step": int(arrays["step"])}

    def memory(self) -> dict[str, int]:
        """steady_bytes and peak_bytes: of the GPU, or of the process on a CPU."""
        if self.device.type == "cpu":
            return process_memory()
        steady, peak = torch.cuda.memory_allocated(self.device), torch.cuda.max_memory_allocated(self.device)
        return {"steady_bytes": steady, "peak_bytes": peak}

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""
        device = "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)
        return {
            "backend": self.name,
            "torch": torch.__version__,
            "device": device,
            "dtype": self.dtype,
            **self.layers(),
        }

    def layers(self) -> dict[str, str]:
        """What the GRU layers of the model run as, if there are any."""
        grus = [module for module in self.objective.structure.modules() if isinstance(module, GRU | BidirectionalGRU)]
        found = {describe_gru(each.implementation, each.hidden_size, self.dtype, self.device) for each in grus}
        return {"torch_gru": "; ".join(sorted(found))} if found else {}


def _evaluated(state: State) -> Tensors:
    """The weights, or their averages where there are any."""
    return {**state["weights"], **state.get(training_state.AVERAGE, {})}


def _on_its_way(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on the device; a GPU copies it asynchronously, behind the steps already queued."""
    tensor = to_tensor(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def find_device(device: str) -> torch.device:
    """The device of that name; IsogradError if PyTorch has none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise IsogradError(
            f"--device cuda was asked for, and PyTorch {torch.__version__} finds only a CPU: "
            "install a CUDA build of torch and the driver of the GPU, or use --device cpu"
        )
    return torch.device(device)
