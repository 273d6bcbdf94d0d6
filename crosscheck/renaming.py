"""The values of one side under the names and layouts of the other: renames by regular expression, foreign layouts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from crosscheck.tracing import call_of
from crosscheck.values import Arrays, Call, Values
from shared.configs.validation import check_choice
from shared.foreign_layouts import LAYOUTS, from_foreign

Rules = Mapping[str, str]  # regular expression on a canonical JAX name -> replacement in torch's name
Layouts = Mapping[str, str]  # path of a module -> the layout of its parameters, such as "torch.nn.GRU"


def renamed(values: Values, rules: Rules) -> Values:
    """The values with the rules applied to the names of parameters and to the paths of modules."""
    if not rules:
        return values
    calls = {name: Call(*(module_path(path, rules) for path in call)) for name, call in values.calls.items()}
    new_names = {name: _call(name, call, calls[name]) for name, call in values.calls.items()}

    def tap(name: str) -> str:
        call = call_of(name)
        return new_names[call] + name[len(call) :]

    return replace(
        _with_parameters(values, lambda arrays: {_name(name, rules): array for name, array in arrays.items()}),
        calls={new_names[name]: calls[name] for name in calls},
        intermediates={tap(name): array for name, array in values.intermediates.items()},
        intermediate_gradients={tap(name): array for name, array in values.intermediate_gradients.items()},
        hidden=[module_path(path, rules) for path in values.hidden],
    )


def in_canonical_layout(values: Values, side: str, layouts: Layouts) -> Values:
    """The values with the parameters below each path turned from their layout into ours.

    A layout belongs to the framework that its name begins with ("torch." or "flax.") and leaves the other side alone.
    Raises IsogradError for an unknown layout, WeightsError if the parameters do not fit it.
    """
    for path, layout in layouts.items():
        check_choice("layout", layout, LAYOUTS)
        if layout.startswith("torch." if side == "torch" else "flax."):
            values = _with_parameters(values, lambda arrays, p=path, to=layout: _converted(arrays, p, to))
    return values


def inside(rules: Rules, jax_path: str, torch_path: str) -> Rules:
    """The rules for the names inside the submodule that stands at these two paths."""
    return {"^": f"{jax_path}.", **rules, rf"^{re.escape(torch_path)}\.": ""} if rules else {}


def _with_parameters(values: Values, change: Callable[[Arrays], Arrays]) -> Values:
    """Weights, their gradients and every group of the training state changed alike."""
    groups: dict[str, Arrays] = {}
    for key, array in values.updates.items():
        step, group, name = key.split("/", 2)
        groups.setdefault(f"{step}/{group}", {})[name] = array
    return replace(
        values,
        parameters=change(values.parameters),
        parameter_gradients=change(values.parameter_gradients) if values.parameter_gradients else {},
        updates={
            f"{group}/{name}": array for group, arrays in groups.items() for name, array in change(arrays).items()
        },
    )


def _converted(arrays: Arrays, path: str, layout: str) -> Arrays:
    """Foreign arrays below `path` in our layout, at the place of the first of them."""
    prefix = f"{path}." if path else ""
    separator = "/" if layout.startswith("flax.") else "."
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    foreign = {_as_foreign(name, separator): _untransposed(name, array, separator) for name, array in inside.items()}
    ours = {prefix + name: array for name, array in from_foreign(layout, foreign).items()}
    return {**{name: array for name, array in arrays.items() if not name.startswith(prefix)}, **ours}


def _as_foreign(name: str, separator: str) -> str:
    """Flax's own path of a canonical name: "hn.weight" -> "hn/kernel"."""
    return name if separator == "." else re.sub(r"weight$", "kernel", name).replace(".", "/")


def _untransposed(name: str, array, separator: str):  # type: ignore[no-untyped-def]
    return array.T if separator == "/" and name.endswith("weight") else array


def _name(name: str, rules: Rules) -> str:
    for pattern, replacement in rules.items():
        name = re.sub(pattern, replacement, name)
    return name


def module_path(path: str, rules: Rules) -> str:
    """A module's path, by the rules for the names of what is in it."""
    return _name(f"{path}.", rules).removesuffix(".") if path else path


def _call(name: str, old: Call, new: Call) -> str:
    """A call's name: the new path with the method and number that followed the old one."""
    return new.path + name[len(old.path) :]
