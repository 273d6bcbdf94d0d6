"""What the runner asks of a backend, and how to load one by name without importing the other framework."""

import importlib
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from shared.configs.experiment import AdamWConfig, ModelConfig
from shared.configs.validation import check_choice
from shared.errors import IsogradError

Batch = dict[str, np.ndarray]
Metrics = dict[str, Any]  # arrays on the device, fetched only when a line is logged
State = Any  # opaque to the runner

PACKAGES = {"torch": ("torch",), "jax": ("jax", "flax", "optax")}
DTYPES = ("float32", "float64", "bfloat16")  # bfloat16: float32 master weights, bfloat16 compute
DEVICES = ("cpu", "cuda")


class Backend(Protocol):
    """Owns parameters, optimiser state, device, compilation and precision of one framework."""

    name: str
    compile_seconds: float  # spent in compilation so far, never counted as training time

    def init_state(self) -> State:
        """Initial weights by (seed, parameter name), zero moments, step 0."""

    def train_step(self, state: State, batch: Batch, learning_rate: float) -> tuple[State, Metrics]:
        """One update; metrics: loss (mean over the real rows), accuracy and gradient_norm, all before the update."""

    def eval_step(self, state: State, batch: Batch) -> Metrics:
        """Without dropout: losses (B,) and predictions (B,)."""

    def fetch(self, metrics: Metrics) -> dict[str, np.ndarray]:
        """Wait for the device and copy metrics to the host."""

    def state_to_arrays(self, state: State) -> dict[str, np.ndarray]:
        """weights/NAME, exp_avg/NAME, exp_avg_sq/NAME in canonical names and layouts, and step."""

    def state_from_arrays(self, arrays: dict[str, np.ndarray]) -> State:
        """The inverse of `state_to_arrays`; arrays may come from the other backend."""

    def memory(self) -> dict[str, int]:
        """steady_bytes and peak_bytes: of the device where it says, of the process on a CPU."""

    def describe(self) -> dict[str, str]:
        """Versions and the name of the device, for the run's config.json."""


def load_backend(
    name: str, *, model: ModelConfig, optimizer: AdamWConfig, seed: int = 0, dtype: str = "float32", device: str = "cpu"
) -> Backend:
    """Import one framework and make its backend; IsogradError if it is unknown, not installed or has no such device."""
    module = find_backend(name, dtype=dtype, device=device)
    return module.Backend(model=model, optimizer=optimizer, seed=seed, dtype=dtype, device=device)


def find_backend(name: str, *, dtype: str, device: str) -> ModuleType:
    """The module of a backend, imported, its device found: what can be refused before any data is read."""
    check_choice("backend", name, PACKAGES)
    check_choice("dtype", dtype, DTYPES)
    check_choice("device", device, DEVICES)
    try:
        module = importlib.import_module(f"{name}_impl.backend")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in PACKAGES[name]:
            raise
        raise IsogradError(
            f"the {name} backend needs {', '.join(PACKAGES[name])}, and {error.name!r} is not installed: "
            f"pip install 'isograd[{name}]'"
        ) from error
    module.find_device(device)
    return module
