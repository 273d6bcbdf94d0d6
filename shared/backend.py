"""The interface of a backend to the runner, and loading one by name without importing the other framework."""

import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from shared.arrays import Arrays
from shared.configs.experiment import ModelConfig
from shared.configs.optimizer import OptimizerConfig, TrainingConfig
from shared.configs.validation import check_choice
from shared.errors import IsogradError

Batch = dict[str, Any]  # numpy arrays, or what `to_device` returns
Metrics = dict[str, Any]  # arrays on the device, fetched only when a line is logged
State = Any  # opaque to the runner

PACKAGES = {"torch": ("torch",), "jax": ("jax", "flax", "optax")}
DTYPES = ("float32", "float64", "bfloat16")  # bfloat16: float32 master weights, bfloat16 compute
DEVICES = ("cpu", "cuda")
DROPOUT_RNGS = ("shared", "native")
NOTHING_ELSE = TrainingConfig()
COMPILING = "compiling"  # starts the names of threads that a backend compiles in


class Backend(Protocol):
    """Owns parameters, optimiser state, device, compilation and precision of one framework."""

    name: str
    device: Any  # of the framework
    compile_seconds: float  # that steps have waited for compilation so far, never counted as training time

    def init_state(self, initial: Arrays | None = None) -> State:
        """The given weights, others by (seed, parameter name), everything else zero, step 0."""

    def compile_ahead(self, state: State, training: Iterable[Batch], validation: Iterable[Batch]) -> None:
        """Begin to compile what steps and evaluations of batches of these shapes need; does not wait for it."""

    def to_device(self, batch: Batch) -> Batch:
        """Move what the model and the loss need of a batch to the device; from any thread, ahead of its step."""

    def train_step(self, state: State, batch: Batch, learning_rate: float) -> tuple[State, Metrics]:
        """Train on one batch, with an update after every `accumulate` of them; consumes the state.

        Metrics, before the update: the loss and the other figures in its row of LOSSES, as weighted means;
        gradient_norm, before clipping, of the mean gradients of all batches in the update so far.
        """

    def gradients_of(self, state: State, batch: Batch) -> dict[str, np.ndarray]:
        """The gradients of trainable parameters, by name, that `train_step` would compute for this batch."""

    def eval_step(self, state: State, batch: Batch) -> Metrics:
        """Losses and predictions, shaped like weights; no dropout, and the averaged weights if there are any."""

    def logits_of(self, state: State, batch: Batch) -> np.ndarray:
        """The outputs that `eval_step` scores, in float32 at least."""

    def fetch(self, metrics: Metrics) -> dict[str, np.ndarray]:
        """Wait for the device and copy metrics to the host."""

    def snapshot(self, state: State) -> State:
        """A copy on the device that later steps don't change; does not wait for the device."""

    def state_to_arrays(self, state: State) -> dict[str, np.ndarray]:
        """weights/NAME, exp_avg/NAME, ... in canonical names and layouts, and step: see shared/training_state.py."""

    def state_from_arrays(self, arrays: dict[str, np.ndarray]) -> State:
        """The inverse of `state_to_arrays`; arrays may come from the other backend."""

    def memory(self) -> dict[str, int]:
        """steady_bytes and peak_bytes: of the device if it reports them, of the process on a CPU."""

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""


def load_backend(
    name: str,
    *,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    training: TrainingConfig = NOTHING_ELSE,
    loss: str = "cross_entropy",
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
) -> Backend:
    """Import one framework and create its backend; IsogradError if unknown, not installed or without the device."""
    module = find_backend(name, dtype=dtype, device=device)
    check_choice("dropout_rng", training.dropout_rng, DROPOUT_RNGS)
    options = {"model": model, "optimizer": optimizer, "training": training, "loss": loss, "seed": seed}
    return module.Backend(**options, dtype=dtype, device=device)


def find_backend(name: str, *, dtype: str, device: str, tell: Callable[[str], None] = lambda text: None) -> ModuleType:
    """Import the module of a backend and find its device: all that can be rejected before any data is read.

    `tell` hears of the import before it starts, since it can take seconds.
    """
    check_choice("backend", name, PACKAGES)
    check_choice("dtype", dtype, DTYPES)
    check_choice("device", device, DEVICES)
    tell(f"loading {name}")
    try:
        module = importlib.import_module(f"{name}_impl.backend")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in PACKAGES[name]:
            raise
        raise IsogradError(
            f"the {name} backend needs {', '.join(PACKAGES[name])}, but {error.name!r} is not installed: "
            f"pip install 'isograd[{name}]'"
        ) from error
    module.find_device(device)
    return module
