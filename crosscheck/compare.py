"""Compare a torch module with a JAX module: parameters, outputs, input gradients and parameter gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from flax import nnx

from crosscheck import criterion, jax_side, torch_side
from crosscheck.precision import full_precision
from crosscheck.report import KINDS, Report, Row, worst_element
from crosscheck.rounding import RandomRounding
from crosscheck.values import Arrays, Values, is_float, named_inputs
from shared.errors import IsogradError
from shared.rng import key_from_seed
from shared.weight_rules import check_names
from torch_impl.weights import to_numpy

NOISE_RUNS = 8  # runs of the oracle with random roundings; the largest movement counts
DROPOUT_KEY = key_from_seed(0)


def compare(
    torch_module: torch.nn.Module | Callable[..., Any],
    jax_module: nnx.Module | Callable[..., Any],
    inputs: Any,
    *,
    rules: jax_side.Rules | None = None,
    train: bool = False,
    gradients: bool = True,
    name: str | None = None,
    device: str | None = None,
) -> Report:
    """Run both modules on the same numpy inputs (a dict, a tuple or one array) and compare all that comes out.

    `rules` renames JAX parameters to torch's names: regular expression -> replacement. In train mode our own dropout
    draws equal masks on both sides, any other dropout is off. float64 modules are held to the proof, others to the
    noise rule.
    Raises IsogradError if a module refuses the inputs, or if outputs or parameters do not pair up.
    """
    dtype = _dtype(torch_module, inputs)
    options = {"rounded_to": dtype, "train": train, "gradients": gradients, "dropout_key": DROPOUT_KEY}
    options["device"] = device or _device(torch_module)
    inputs = _rounded(inputs, dtype)
    with full_precision():
        title = name or type(torch_module).__name__
        with _said_in_one_sentence("torch", title):
            torch_values = torch_side.evaluate(torch_module, inputs, **options)
        with _said_in_one_sentence("JAX", title):
            jax_values = jax_side.evaluate(jax_module, inputs, **options, rules=rules)
        _check_pairing(torch_values, jax_values, title)
        if dtype == np.float64:
            rows = _prove(torch_values, jax_values)
        else:
            runs = _oracle_runs(torch_module, inputs, dtype, {**options, "device": "cpu"})
            rows = _compare_noise(torch_values, jax_values, runs, dtype)
    return Report(name=title, dtype=dtype.name, mode="train" if train else "eval", device=options["device"], rows=rows)


@contextmanager
def _said_in_one_sentence(side: str, title: str) -> Iterator[None]:
    """A module that refuses the inputs (a wrong shape, an id out of range) is the user's to mend, with the reason."""
    try:
        yield
    except IsogradError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise IsogradError(
            f"the {side} module {title} fails on these inputs: {type(error).__name__}: {reason}"
        ) from error


def _prove(torch_values: Values, jax_values: Values) -> list[Row]:
    rows = []
    for kind in KINDS:
        ours, theirs = getattr(torch_values, kind.attribute), getattr(jax_values, kind.attribute)
        floor = _largest_gradient(torch_values) if kind.is_gradient else 0.0
        for name in ours:
            rows.append(
                _row(
                    kind.name,
                    name,
                    ours[name],
                    theirs[name],
                    _exact_or(criterion.prove, ours[name], theirs[name], floor),
                )
            )
    return rows


def _compare_noise(torch_values: Values, jax_values: Values, runs: list[Values], dtype: np.dtype) -> list[Row]:
    rows = []
    for kind in KINDS:
        ours, theirs = getattr(torch_values, kind.attribute), getattr(jax_values, kind.attribute)
        floor = _largest_gradient(runs[0]) if kind.is_gradient else 0.0
        for name in ours:
            oracle, *moved = [getattr(run, kind.attribute)[name] for run in runs]
            measured = (floor, oracle, moved, criterion.unit_roundoff(dtype))
            verdict = _exact_or(criterion.compare_noise, ours[name], theirs[name], *measured)
            rows.append(_row(kind.name, name, ours[name], theirs[name], verdict))
    return rows


def _exact_or(
    rule: Callable[..., criterion.Verdict], ours: np.ndarray, theirs: np.ndarray, *rest: Any
) -> criterion.Verdict:
    """Integers and booleans must be equal; so must shapes and dtypes of everything."""
    if ours.shape != theirs.shape or is_float(ours.dtype) != is_float(theirs.dtype):
        return criterion.Verdict(float("inf"), 0.0)
    if not is_float(ours.dtype):
        return criterion.Verdict(float(np.count_nonzero(ours != theirs)), 0.0)
    return rule(ours, theirs, *rest)


def _row(kind: str, name: str, ours: np.ndarray, theirs: np.ndarray, verdict: criterion.Verdict) -> Row:
    index, torch_value, jax_value = worst_element(ours, theirs)
    return Row(name, kind, ours.shape, theirs.shape, verdict.error, verdict.bound, index, torch_value, jax_value)


def _oracle_runs(module: Any, inputs: Any, dtype: np.dtype, options: dict[str, Any]) -> list[Values]:
    """The float64 run, then runs with random roundings of the size of `dtype`."""
    oracle, wide = torch_side.in_float64(module), _rounded(inputs, np.dtype(np.float64))
    runs = [torch_side.evaluate(oracle, wide, **options)]
    for seed in range(NOISE_RUNS):
        with RandomRounding(criterion.unit_roundoff(dtype), seed):
            runs.append(torch_side.evaluate(oracle, wide, **options))
    return runs


def _largest_gradient(values: Values) -> float:
    gradients = [*values.input_gradients.values(), *values.parameter_gradients.values()]
    return max(map(criterion.norm, gradients), default=0.0)


def _check_pairing(torch_values: Values, jax_values: Values, title: str) -> None:
    shapes = {name: array.shape for name, array in torch_values.parameters.items()}
    check_names(
        shapes, jax_values.parameters, f"the torch module {title} (names of the JAX module; mend them with rules=)"
    )
    if list(torch_values.outputs) != list(jax_values.outputs):
        raise IsogradError(
            f"the outputs of {title} do not pair up: torch gives {list(torch_values.outputs)}, "
            f"JAX gives {list(jax_values.outputs)}; return the same nesting of tuples or dicts on both sides"
        )


def _dtype(module: Any, inputs: Any) -> np.dtype:
    """The floating type under test: that of the first parameter, or of the first float input."""
    parameters = list(module.parameters()) if isinstance(module, torch.nn.Module) else []
    arrays = [to_numpy(p.detach().flatten()[:1]) for p in parameters[:1]] + named_inputs(inputs)[1]
    return next((array.dtype for array in arrays if is_float(array.dtype)), np.dtype(np.float64))


def _device(module: Any) -> str:
    parameters = list(module.parameters()) if isinstance(module, torch.nn.Module) else []
    return parameters[0].device.type if parameters else "cpu"


def _rounded(inputs: Any, dtype: np.dtype) -> Any:
    """Float inputs in `dtype`, the rest as it is."""
    names, arrays = named_inputs(inputs)
    cast: Arrays = {n: a.astype(dtype) if is_float(a.dtype) else a for n, a in zip(names, arrays, strict=True)}
    return cast if isinstance(inputs, dict) else tuple(cast.values())
