"""What one side computes, on record: kept in memory, or in a file that another machine compares with its own side."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.noise import Arguments, Noise, measure_noise
from crosscheck.precision import full_precision
from crosscheck.values import ARRAY_FIELDS, Call, Options, Values, as_call, is_float, map_arguments, named_arrays
from shared import checkpoint
from shared.errors import IsogradError

FORMAT = "isograd recording 1"
PROOF_DTYPE = np.dtype(np.float64)


@dataclass
class Recording:
    """The values of one side ("torch" or "jax"); a torch recording below float64 carries the noise too."""

    side: str
    name: str
    options: Options
    values: Values
    versions: dict[str, str]
    noise: Noise | None = None

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically."""
        arrays = {f"values/{field}/{name}": array for field, name, array in _all_arrays(self.values)}
        if self.noise is not None:
            arrays |= {f"oracle/{field}/{name}": array for field, name, array in _all_arrays(self.noise.oracle)}
        options = {name: value for name, value in asdict(self.options).items() if name != "cotangents"}
        metadata = {
            "format": FORMAT,
            "side": self.side,
            "name": self.name,
            "versions": self.versions,
            "options": {**options, "dtype": self.options.dtype.name},
            "calls": self.values.calls,
            "hidden": self.values.hidden,
            "order": list(self.values.intermediates),
            "movement": self.noise.movement if self.noise else None,
        }
        checkpoint.save(path, arrays, {"recording": metadata})

    @staticmethod
    def load(path: str | Path) -> "Recording":
        """Read what `save` wrote; raises IsogradError if it is missing, damaged or of another version."""
        arrays, found = checkpoint.load(path)
        about = found.get("recording", {"format": "another file"})
        if about["format"] != FORMAT:
            raise IsogradError(
                f"{path} can't be compared: expected {FORMAT!r}, got {about['format']!r}: record it anew"
            )
        options = {**about["options"], "dtype": np.dtype(about["options"]["dtype"])}
        options["dropout_key"] = tuple(options["dropout_key"])
        values = _values("values", arrays)
        values.intermediates = {name: values.intermediates[name] for name in about["order"]}
        values.calls = {name: Call(*call) for name, call in about["calls"].items()}
        values.hidden = about["hidden"]
        noise = Noise(_values("oracle", arrays), about["movement"]) if about["movement"] is not None else None
        return Recording(about["side"], about["name"], Options(**options), values, about["versions"], noise)

    def arguments(self) -> Arguments:
        """The inputs on record as the arguments of a call."""
        nested = [name for name in self.values.inputs if re.search(r"[.\[]", name)]
        if nested:
            raise IsogradError(f"the recorded inputs {', '.join(nested)} are nested: give `inputs` to compare as well")
        args = tuple(array for name, array in self.values.inputs.items() if name.isdigit())
        return args, {name: array for name, array in self.values.inputs.items() if not name.isdigit()}


def record(
    module: Any,
    inputs: Any,
    path: str | Path | None = None,
    *,
    train: bool = False,
    gradients: bool = True,
    updates: int = 0,
    optimizer: Any = None,
    name: str | None = None,
    device: str | None = None,
) -> Recording:
    """Run one side on the inputs, keep all that is compared, and write it to `path` if one is given.

    The file can be compared on a machine that has the other framework only: `compare(path, jax_module, inputs)`.
    Raises IsogradError if the module refuses the inputs.
    """
    arguments = as_call(inputs)
    side = side_of(module)
    options = Options(floating_dtype(module, arguments), train, gradients, device or device_of(module), updates)
    recording = run(side, module, arguments, options, name or title_of(module), optimizer)
    if path is not None:
        recording.save(path)
    return recording


def run(side: str, module: Any, arguments: Arguments, options: Options, name: str, optimizer: Any = None) -> Recording:
    """The recording of a module with its floats in the dtype under test."""
    evaluate = importlib.import_module(f"crosscheck.{side}_side").evaluate
    given = rounded(arguments, options.dtype)
    with full_precision():
        try:
            values = evaluate(module, given, options, optimizer)
            needs_noise = side == "torch" and options.dtype != PROOF_DTYPE
            noise = measure_noise(module, given, options) if needs_noise else None
        except IsogradError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise IsogradError(
                f"the {'JAX' if side == 'jax' else side} module {name} fails on these inputs: "
                f"{type(error).__name__}: {reason}"
            ) from error
    return Recording(side, name, options, values, versions(side), noise)


def rounded(arguments: Arguments, dtype: np.dtype) -> Arguments:
    """Float arrays in the dtype under test, the rest as it is."""
    return map_arguments(lambda _, array: array.astype(dtype) if is_float(array.dtype) else array, *arguments)


def side_of(module: Any) -> str:
    """ "torch" or "jax", by the classes that the module is made of; torch for a plain function."""
    kinds = type(module[0] if isinstance(module, tuple) and module else module).__mro__
    return "jax" if any(kind.__module__.partition(".")[0] in ("flax", "jax") for kind in kinds) else "torch"


def title_of(module: Any) -> str:
    """The name of the module's class, or of the function."""
    module = module[0] if isinstance(module, tuple) and module else module
    return type(module).__name__


def versions(side: str) -> dict[str, str]:
    """Versions of one side's framework."""
    names = {"torch": ("torch",), "jax": ("jax", "flax")}[side]
    return {name: importlib.import_module(name).__version__ for name in names}


def floating_dtype(module: Any, arguments: Arguments) -> np.dtype:
    """The floating type under test: that of the first parameter, or of the first float input."""
    arrays = [*parameter_samples(module), *named_arrays(arguments).values()]
    return next((array.dtype for array in arrays if is_float(array.dtype)), PROOF_DTYPE)


def parameter_samples(module: Any) -> list[np.ndarray]:
    """One number of the first parameter, in its own dtype."""
    if side_of(module) == "torch":
        from torch_impl.weights import to_numpy

        parameters = list(module.parameters()) if hasattr(module, "parameters") else []
        return [to_numpy(parameter.detach().flatten()[:1]) for parameter in parameters[:1]]
    import jax

    from crosscheck.jax_modules import parameters_of

    leaves = jax.tree.leaves(parameters_of(module))
    return [np.zeros(1, leaf.dtype) for leaf in leaves[:1]]


def device_of(module: Any) -> str:
    """cpu or cuda: where the torch module's parameters are."""
    parameters = list(module.parameters()) if hasattr(module, "parameters") else []
    return parameters[0].device.type if parameters else "cpu"


def _all_arrays(values: Values) -> list[tuple[str, str, np.ndarray]]:
    return [(field, name, array) for field in ARRAY_FIELDS for name, array in getattr(values, field).items()]


def _values(group: str, arrays: Mapping[str, np.ndarray]) -> Values:
    values = Values()
    for key, array in arrays.items():
        kind, field, name = key.split("/", 2)
        if kind == group:
            getattr(values, field)[name] = array
    return values
