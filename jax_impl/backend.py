"""Training with JAX: parameters, optimiser state, device, compilation and precision. Twin: torch_impl/backend.py."""

import functools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jax_impl.compile_cache import begin, options_for, side_by_side
from jax_impl.layer_keys import layer_keys
from jax_impl.layers.fused_gru import describe_gru
from jax_impl.layers.gru import GRU, BidirectionalGRU
from jax_impl.objective import Objective
from jax_impl.optimizer import Tensors
from jax_impl.precision import use_exact_matmul
from jax_impl.update import Groups, Update, clipped, emptied, gathered, global_norm, mean_gradients
from jax_impl.weights import to_numpy, to_tensor
from shared import rng, training_state
from shared.backend import Batch, Metrics, State
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.errors import IsogradError
from shared.process import process_memory


def _compiled(donate: tuple[int, ...]) -> Callable[[Callable], Callable]:
    """Compile a method once per shape of what follows the tensors and add up the seconds; `donate` numbers what is
    given away.

    With a pool the program is only begun, if it is not there: the call that needs it waits for it.
    """

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        def run(self: "Backend", tensors: Any, *others: Any, pool: Executor | None = None) -> Any:
            executables = vars(self).setdefault("executables", {})
            begun = vars(self).setdefault("begun", {})
            signature = (method.__name__, *(leaf.shape for leaf in jax.tree.leaves(others)))
            if signature not in executables:
                start = time.perf_counter()
                if signature not in begun:
                    jitted = jax.jit(functools.partial(method, self), donate_argnums=donate)
                    lowered = jitted.lower(tensors, *others)
                    options = options_for(self.device, self.dtype)
                    begun[signature] = begin(lowered, method.__name__, options, pool)
                if pool is None:
                    executables[signature] = begun.pop(signature).result()
                self.compile_seconds += time.perf_counter() - start
            return None if pool else executables[signature](tensors, *others)

        return run

    return decorate


class Backend:
    """The training backend; the protocol is in shared/backend.py.

    A state is {"weights", ... (the groups of shared/training_state.py): name -> tensor, "step": batches so far}.
    """

    name = "jax"

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
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)
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
        """Begin all programs that steps on batches of these shapes need, side by side, unless it is on a CPU.

        A step waits for its own program alone, and `compile_seconds` are those of its wait.
        """
        with side_by_side(self.device) as pool:
            if pool is None:
                return
            for batch in training:
                tensors, batch, key, coefficients = self.arguments(state, batch, learning_rate=0.0)
                if self.training.accumulate == 1:
                    self.update(tensors, batch, key, coefficients, pool=pool)
                else:
                    self.gather(tensors, batch, key, pool=pool)
                    self.apply_gathered(tensors, coefficients, pool=pool)
            for batch in validation:
                self.evaluate(_evaluated(state), self.to_device(batch), pool=pool)

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
    ) -> tuple[Groups, Tensors, np.ndarray, np.ndarray]:
        """The arguments of `update` for the state's next step."""
        coefficients = self.updates.coefficients(state["step"] // self.training.accumulate + 1, learning_rate)
        coefficients = np.array(coefficients, training_state.MASTER_DTYPES[self.dtype])
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

    def key(self, state: State) -> np.ndarray:
        """The random keys of the dropout layers in the state's next step."""
        key = rng.fold_in(rng.key_from_seed(self.seed), state["step"])
        return layer_keys(self.objective.structure, key, self.training.dropout_rng)

    @_compiled(donate=(0,))
    def update(self, tensors: Groups, batch: Tensors, key: Array, coefficients: Array) -> tuple[Groups, Metrics]:
        """The part of a `train_step` without accumulation that runs on the device."""
        gradients, metrics = self.objective.gradients(tensors["weights"], batch, key)
        norm = global_norm(gradients)
        gradients = clipped(gradients, norm, self.training.clip_norm)
        return self.updates.apply(tensors, gradients, coefficients), {**metrics, "gradient_norm": norm}

    @_compiled(donate=(0,))
    def gather(self, tensors: Groups, batch: Tensors, key: Array) -> tuple[Groups, Metrics]:
        """The same with accumulation, where gradients are summed and the weights stay as they are."""
        gradients, metrics = self.objective.gradients(tensors["weights"], batch, key)
        tensors = gathered(tensors, gradients, batch["weights"].sum())
        return tensors, {**metrics, "gradient_norm": global_norm(mean_gradients(tensors))}

    @_compiled(donate=(0,))
    def apply_gathered(self, tensors: Groups, coefficients: Array) -> Groups:
        """The update by the summed gradients, which ends every `accumulate`-th step."""
        gradients, tensors = mean_gradients(tensors), emptied(tensors)
        gradients = clipped(gradients, global_norm(gradients), self.training.clip_norm)
        return self.updates.apply(tensors, gradients, coefficients)

    @_compiled(donate=())
    def differentiate(self, weights: Tensors, batch: Tensors, key: Array) -> tuple[Tensors, Metrics]:
        """The part of `gradients_of` that runs on the device, and the metrics."""
        return self.objective.gradients(weights, batch, key)

    @_compiled(donate=())
    def evaluate(self, weights: Tensors, batch: Tensors) -> Metrics:
        """The part of `eval_step` that runs on the device."""
        return self.objective.evaluate(weights, batch)

    @_compiled(donate=())
    def forward(self, weights: Tensors, batch: Tensors) -> Array:
        """The part of `logits_of` that runs on the device."""
        return self.objective.logits(weights, batch)

    def to_device(self, batch: Batch) -> Tensors:
        """The entries of a batch that the model and the loss read, on the device; those already there are kept."""
        named = {name: batch[name] for name in (*self.model.inputs, "labels", "weights")}
        return {n: a if isinstance(a, Array) else to_tensor(a, self.device) for n, a in named.items()}

    def fetch(self, metrics: Metrics) -> dict[str, np.ndarray]:
        """Wait for the device and copy metrics to the host."""
        return {name: to_numpy(value) for name, value in metrics.items()}

    def snapshot(self, state: State) -> State:
        """A copy on the device that later steps leave as it is; it does not wait for the device."""
        return {**_copy({group: value for group, value in state.items() if group != "step"}), "step": state["step"]}

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
        if self.device.platform == "cpu":
            return process_memory()
        statistics = self.device.memory_stats()
        return {"steady_bytes": statistics["bytes_in_use"], "peak_bytes": statistics["peak_bytes_in_use"]}

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""
        versions = {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}
        return {
            "backend": self.name,
            **versions,
            "device": self.device.device_kind,
            "dtype": self.dtype,
            **self.layers(),
        }

    def layers(self) -> dict[str, str]:
        """What the GRU layers of the model run as, if there are any."""
        modules = [module for _, module in nnx.iter_modules(self.objective.structure)]
        grus = [module for module in modules if isinstance(module, GRU | BidirectionalGRU)]
        found = {describe_gru(each.implementation, each.hidden_size, self.dtype, self.device) for each in grus}
        return {"jax_gru": "; ".join(sorted(found))} if found else {}


def _evaluated(state: State) -> Tensors:
    """The weights, or their averages where there are any."""
    return {**state["weights"], **state.get(training_state.AVERAGE, {})}


@jax.jit
def _copy(tensors: Any) -> Any:
    return jax.tree.map(jnp.copy, tensors)


def find_device(device: str) -> jax.Device:
    """The device of that name; IsogradError if JAX has none."""
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise IsogradError(
            f"--device {device} was asked for, and JAX {jax.__version__} finds only {jax.default_backend()}: "
            "pip install 'jax[cuda13]' and the driver of the GPU, or use --device cpu"
        ) from error
