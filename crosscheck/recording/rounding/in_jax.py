"""A JAX function in which every operation in float64 rounds at random: what its own steps lose, it loses otherwise.

Sibling: in_torch.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

MOVING = {  # operations that never round
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "gather", "concatenate", "convert_element_type",
    "select_n", "copy", "neg", "max", "min", "iota", "pad", "rev", "dynamic_slice", "dynamic_update_slice",
    "stop_gradient", "expand_dims", "split", "abs", "clamp",
}  # fmt: skip
INSIDE = ("jit", "pjit", "closed_call")  # whose body is run step by step


def rounded_at_random(function: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The function with the operands and the result of every step off by up to half a unit in its last place."""

    def run(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        found = _run(closed.jaxpr, closed.consts, jax.tree.leaves(args), np.random.default_rng(seed))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return run


def _run(program: Any, constants: Sequence[Any], arguments: Sequence[Any], generator: np.random.Generator) -> list[Any]:
    values = dict(zip((*program.constvars, *program.invars), (*constants, *arguments), strict=True))

    def read(variable: Any) -> Any:
        is_literal = hasattr(variable, "val")  # a Python number
        return np.asarray(variable.val, variable.aval.dtype) if is_literal else values[variable]

    for step in program.eqns:
        given = [read(variable) for variable in step.invars]
        if step.primitive.name in INSIDE and "jaxpr" in step.params:
            inner = step.params["jaxpr"]
            results = _run(inner.jaxpr, inner.consts, given, generator)
        else:
            rounds = step.primitive.name not in MOVING
            given = [_moved(each, generator) for each in given] if rounds else given
            made = step.primitive.bind(*given, **step.primitive.get_bind_params(step.params))
            made = made if step.primitive.multiple_results else [made]
            results = [_moved(each, generator) for each in made] if rounds else made
        values.update(zip(step.outvars, results, strict=True))
    return [read(variable) for variable in program.outvars]


def _moved(result: Any, generator: np.random.Generator) -> Any:
    if getattr(result, "dtype", None) != np.float64:
        return result
    return result * (1 + generator.uniform(-1, 1, result.shape) * np.finfo(np.float64).eps / 2)
