"""Both frameworks by the names they share, so that what a study computes is written once and run in each."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.studies.study import Both
from shared.arrays import ArrayMapping, Arrays
from shared.initial_weights import initial_weights
from shared.registry import find_twin

Measure = Callable[..., Any]  # a side, and more arguments, -> an array


@dataclass(frozen=True)
class Side:
    """One framework in float64 on the CPU.

    `components` is torch_impl or jax_impl, `xp` is torch or jax.numpy, `autodiff` is torch.func or jax; `jit` does
    nothing in torch, and in JAX compiles a function at once, not each of its operations. `build` makes a twin of the
    registry with these weights, or with initial weights by a seed. Gradients have canonical names.
    """

    name: str
    components: Any
    xp: Any
    autodiff: Any
    jit: Callable[[Callable[..., Any]], Callable[..., Any]]
    array: Callable[[np.ndarray], Any]
    build: Callable[[str, Mapping[str, Any], ArrayMapping | int], Any]
    gradients: Callable[[Any, Callable[[Any], Any]], Arrays]


def both(measure: Measure, *arguments: Any) -> Both:
    """What `measure(side, *arguments)` returns for torch and for JAX, as numpy arrays in float64."""
    with _torch() as side:
        with_torch = to_numpy(measure(side, *arguments))
    with _jax() as side:
        with_jax = to_numpy(measure(side, *arguments))
    return Both(with_torch, with_jax)


def numbers(measure: Measure, *arguments: Any) -> Both:
    """`both` for a single number."""
    return both(measure, *arguments).map(float)


def to_numpy(value: Any) -> np.ndarray:
    """A framework's array, or a number, in float64."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=np.float64)


def _building(empty_twin: Callable[..., Any], loading: Any) -> Callable[..., Any]:
    def build(name: str, arguments: Mapping[str, Any], weights: ArrayMapping | int) -> Any:
        module = empty_twin(find_twin(name), arguments)
        if isinstance(weights, int):
            weights = initial_weights(loading.parameter_shapes(module), weights, np.float64)
        loading.load_arrays(module, weights)
        return module

    return build


@contextlib.contextmanager
def _torch() -> Iterator[Side]:
    import torch

    import torch_impl
    from torch_impl import weights as loading
    from torch_impl.build import empty_twin

    def gradients(module: Any, loss: Callable[[Any], Any]) -> Arrays:
        names, parameters = zip(*module.named_parameters(), strict=True)
        found = torch.autograd.grad(loss(module), parameters)
        return {name: to_numpy(gradient) for name, gradient in zip(names, found, strict=True)}

    yield Side(
        "torch",
        torch_impl,
        torch,
        torch.func,
        lambda f: f,
        loading.to_tensor,
        _building(empty_twin, loading),
        gradients,
    )


@contextlib.contextmanager
def _jax() -> Iterator[Side]:
    import jax
    from flax import nnx

    import jax_impl
    from jax_impl import weights as loading
    from jax_impl.build import empty_twin
    from shared.weight_rules import canonical_name, to_canonical

    def gradients(module: Any, loss: Callable[[Any], Any]) -> Arrays:
        found = nnx.to_flat_state(nnx.jit(nnx.grad(loss))(module))
        return {canonical_name(path): to_canonical(path, to_numpy(leaf.get_value())) for path, leaf in found}

    precision = jax.default_matmul_precision("highest")
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]), precision:
        yield Side(
            "jax", jax_impl, jax.numpy, jax, jax.jit, loading.to_tensor, _building(empty_twin, loading), gradients
        )
