"""Copies a torch module's weights and running statistics to a JAX module, the first step of a comparison."""

from collections.abc import Iterable, Mapping
from pathlib import Path as File
from typing import Any

import flax.linen as nn
import numpy as np
import torch
from flax import nnx, traverse_util

import torch_impl
from crosscheck.pairing.by_table import as_jax
from crosscheck.pairing.layouts import Layouts, in_jax_layout
from crosscheck.pairing.renaming import Rules, fitted, is_left_out, new_name, spread
from crosscheck.pairing.rule_files import as_rules
from crosscheck.pairing.suggestions import advice
from crosscheck.recording.jax_modules import arrays_of, is_pytree, names_of, own_name, with_arrays
from crosscheck.recording.values import statistic_name
from jax_impl.weights import to_tensor
from shared.errors import IsogradError, WeightsError
from shared.weight_rules import canonical_shape, check_names, from_canonical
from torch_impl.weights import to_numpy

COLLECTIONS = ("params", "batch_stats")  # of a Linen module's variables
Path = tuple[str | int, ...]


def copy_weights(
    torch_module: torch.nn.Module,
    jax_module: Any,
    rules: Rules | str | File | None = None,
    layouts: Layouts | None = None,
) -> Any:
    """Copy the torch module's parameters and statistics to the JAX module; `rules` and `layouts` as in `compare`.

    Where the JAX side has one bias for two of torch's, it gets their sum. An NNX module is modified in place; for a
    Linen module, given as (module, variables), a new such pair is returned, and a new module for one of Equinox.
    Raises a single WeightsError that lists every missing, unused or misshapen name.
    """
    rules = as_rules(rules or {})
    if isinstance(jax_module, nnx.Module):
        state = nnx.state(jax_module, (nnx.Param, nnx.BatchStat))
        flat = dict(nnx.to_flat_state(state))
        shapes = {path: variable.get_value().shape for path, variable in flat.items()}
        found = _arrays(torch_module, shapes, rules, layouts or {})
        for path, variable in flat.items():
            if path in found:
                variable.set_value(to_tensor(found[path]))
        nnx.update(jax_module, state)
        return jax_module
    if is_pytree(jax_module):
        shapes = {tuple(name.split(".")): array.shape for name, array in arrays_of(jax_module).items()}
        found = _arrays(torch_module, shapes, rules, layouts or {})
        return with_arrays(jax_module, {".".join(map(str, path)): to_tensor(array) for path, array in found.items()})
    module, variables = _with_variables(jax_module)
    trees = {name: traverse_util.flatten_dict(nn.meta.unbox(dict(variables.get(name, {})))) for name in COLLECTIONS}
    shapes = {path: array.shape for tree in trees.values() for path, array in tree.items()}
    found = _arrays(torch_module, shapes, rules, layouts or {})
    filled = {
        name: {path: to_tensor(found[path]) if path in found else array for path, array in tree.items()}
        for name, tree in trees.items()
        if tree
    }
    return module, {**variables, **{name: traverse_util.unflatten_dict(tree) for name, tree in filled.items()}}


def _with_variables(module: Any) -> tuple[nn.Module, Any]:
    """A Linen module and its variables, also for a bound module."""
    if isinstance(module, nn.Module) and module.scope is not None:
        return module.unbind()
    if isinstance(module, tuple) and len(module) == 2 and isinstance(module[0], nn.Module):
        return module
    raise IsogradError(
        "expected an NNX module, a Linen module as the pair (module, variables), or an Equinox module, "
        f"got {type(module).__name__}"
    )


def _arrays(
    module: torch.nn.Module, shapes: Mapping[Path, Any], rules: Rules, layouts: Layouts
) -> dict[Path, np.ndarray]:
    """The torch module's array for every path of the JAX module, in the JAX module's layout."""
    statistics = {name: to_numpy(buffer) for name, buffer in module.named_buffers()}
    parameters = torch_impl.to_arrays(module)
    placed, left = as_jax({**parameters, **statistics}, shapes, rules)
    _check_shapes(placed, shapes)
    shapes = {path: shape for path, shape in shapes.items() if path not in placed}
    ours = in_jax_layout({name: array for name, array in parameters.items() if name in left}, layouts)
    names = _torch_names(shapes, rules, {**ours, **statistics})
    names = {path: name for path, name in names.items() if not is_left_out(name, rules)}
    wanted = {name: statistics[name] for name in names.values() if name in statistics}
    ours = {name: array for name, array in ours.items() if not is_left_out(name, rules)}
    usual = {path for path in names if str(path[-1]) != names[path].rpartition(".")[2]}
    expected = {name: canonical_shape(path, shapes[path]) if path in usual else shapes[path]
                for path, name in names.items()}  # fmt: skip
    found = {name: fitted(array, expected.get(name, array.shape)) for name, array in {**ours, **wanted}.items()}
    split = {path: array for path, name in names.items() if name in found and found[name].shape != expected[name]
             for array in [spread(found[name], shapes[path])] if array is not None}  # fmt: skip
    found |= {names[path]: np.empty(expected[names[path]]) for path in split}
    _check(expected, found, f"the JAX module (from {type(module).__name__})", tied_names(module))
    return placed | {
        path: split[path] if path in split else from_canonical(path, found[name]) if path in usual else found[name]
        for path, name in names.items()
    }


def _check_shapes(placed: Mapping[Path, np.ndarray], shapes: Mapping[Path, Any]) -> None:
    """Raise WeightsError unless what a table makes of torch's arrays has the shapes of JAX's."""
    check_names(
        {"/".join(map(str, path)): tuple(shapes[path]) for path in placed},
        {"/".join(map(str, path)): array for path, array in placed.items()},
        "the JAX module, by the table of rules",
    )


def tied_names(module: torch.nn.Module) -> dict[str, str]:
    """The other names of parameters that a module has under two, with the first of each."""
    first: dict[int, str] = {}
    names = [(name, id(each)) for name, each in module.named_parameters(remove_duplicate=False)]
    return {name: first[key] for name, key in names if first.setdefault(key, name) != name}


def _check(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, np.ndarray], owner: str, tied: Mapping[str, str]
) -> None:
    try:
        check_names(expected, found, owner)
    except WeightsError as error:
        also = [f"{name} is {tied[name]} in torch: tie the two in JAX" for name in expected if name in tied]
        words = f"; {'; '.join(also)}" if also else advice({name: each.shape for name, each in found.items()}, expected)
        raise WeightsError(f"{error}{words}") from None


def _torch_names(paths: Iterable[Path], rules: Rules, arrays: Mapping[str, np.ndarray]) -> dict[Path, str]:
    """Torch's name of each path: by torch's word, by JAX's own if only that is there, or that of a statistic."""
    usual = {path: new_name(name, rules) for path, name in names_of(paths).items()}
    candidates = {path: (name, new_name(own_name(path), rules), statistic_name(name)) for path, name in usual.items()}
    return {path: next((name for name in names if name in arrays), names[-1]) for path, names in candidates.items()}
