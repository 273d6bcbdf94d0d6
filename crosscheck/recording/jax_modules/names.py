"""A JAX module's parameters under canonical names, and its running statistics under torch's."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from crosscheck.recording.tracing import Tracer
from crosscheck.recording.values import statistic_name
from jax_impl.weights import to_numpy
from shared.weight_rules import LAST_PART, canonical_name, to_canonical

Call = Callable[[Tracer, Any, tuple[Any, ...], Mapping[str, Any]], Any]
Path = tuple[str | int, ...]
WORDS = ("weight", *LAST_PART)  # in this order the parameters of a module take torch's word


def own_name(path: Path) -> str:
    """The name by JAX's own word: ("norm", "scale") -> "norm.scale"."""
    return ".".join(map(str, path))


def names_of(paths: Iterable[Path]) -> dict[Path, str]:
    """Each path's canonical name, or its own if another path has that already, as a `scale` beside a `kernel`."""
    names: dict[Path, str] = {}
    for path in sorted(paths, key=lambda path: WORDS.index(path[-1]) if path[-1] in WORDS else -1):
        name = canonical_name(path)
        names[path] = own_name(path) if name in names.values() else name
    return names


class Names(NamedTuple):
    """Converts a parameter tree to a flat dict under canonical names and layouts."""

    flat: Callable[[Any], dict[Path, Any]]

    def to_canonical(self, parameters: Any, read: Callable[[Any], np.ndarray] = to_numpy) -> dict[str, np.ndarray]:
        """Arrays by canonical name; works for weights and for gradients and moments of the same tree."""
        found = {path: read(array) for path, array in self.flat(parameters).items()}
        names = names_of(found)
        return {
            names[path]: array if names[path] == own_name(path) else to_canonical(path, array)
            for path, array in found.items()
        }


def statistics_of(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """Running statistics under torch's names."""
    return {statistic_name(canonical_name(path)): array for path, array in flat.items()}
