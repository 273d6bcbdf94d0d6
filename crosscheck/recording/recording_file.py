"""Converts a recording to the arrays and plain data of its file, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.recording.arguments import from_json, to_json
from crosscheck.recording.nesting import named_arrays
from crosscheck.recording.noise import Noise
from crosscheck.recording.values import ARRAY_FIELDS, Call, Options, Values
from shared import checkpoint
from shared.arrays import Arrays
from shared.errors import IsogradError

FORMAT = "isograd recording 1"
NOT_KEPT = ("cotangents", "shapes")  # of the options: a part's own


def save(recording: Any, path: str | Path) -> None:
    """Write one safetensors file, atomically."""
    groups = {"values": recording.values, "oracle": recording.noise.oracle if recording.noise else Values()}
    if recording.arguments is not None:
        groups["arguments"] = Values(inputs=named_arrays(recording.arguments))
    options = {name: value for name, value in asdict(recording.options).items() if name not in NOT_KEPT}
    about = {
        "format": FORMAT,
        "side": recording.side,
        "name": recording.name,
        "versions": recording.versions,
        "options": {**options, "dtype": recording.options.dtype.name},
        "calls": recording.values.calls,
        "hidden": recording.values.hidden,
        "order": {group: {field: list(getattr(v, field)) for field in ARRAY_FIELDS} for group, v in groups.items()},
        "movement": recording.noise.movement if recording.noise else None,
        "arguments": recording.arguments and to_json(recording.arguments),
    }
    arrays = {
        f"{group}/{field}/{name}": array
        for group, values in groups.items()
        for field in ARRAY_FIELDS
        for name, array in getattr(values, field).items()
    }
    checkpoint.save(path, arrays, {"recording": about})


def load(path: str | Path) -> dict[str, Any]:
    """Read the fields of a recording that `save` wrote.

    Raises IsogradError if the file is missing or damaged, or has the wrong format or version.
    """
    arrays, found = checkpoint.load(path)
    about = found.get("recording")
    form = about.get("format") if isinstance(about, dict) else "a different kind of file"
    if form != FORMAT:
        raise IsogradError(f"{path} can't be compared: expected {FORMAT!r}, got {form!r}; record it again")
    try:
        return _fields(arrays, about)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"the file lacks {error}" if isinstance(error, KeyError) else f"it is damaged ({error})"
        raise IsogradError(f"{path} can't be compared: {reason}; record it again") from error


def _fields(arrays: Arrays, about: Mapping[str, Any]) -> dict[str, Any]:
    groups = {group: _values(group, order, arrays) for group, order in about["order"].items()}
    values, options, given = groups["values"], about["options"], about["arguments"]
    values.calls = {name: _call(*call) for name, call in about["calls"].items()}
    values.hidden = about["hidden"]
    return {
        **{name: about[name] for name in ("side", "name", "versions")},
        "options": Options(
            **{
                **options,
                "dtype": np.dtype(options["dtype"]),
                "dropout_key": tuple(options["dropout_key"]),
                "widen": tuple(options.get("widen", ())),
            }
        ),
        "values": values,
        "noise": None if about["movement"] is None else Noise(groups["oracle"], about["movement"]),
        "arguments": None if given is None else from_json(given, groups["arguments"].inputs),
    }


def _call(path: str, caller: str, inside: str, *names: list[str]) -> Call:
    return Call(path, caller, inside, *map(tuple, names))


def _values(group: str, order: Mapping[str, list[str]], arrays: Arrays) -> Values:
    """safetensors sorts arrays by name; `order` restores the original order."""
    return Values(**{field: {n: arrays[f"{group}/{field}/{n}"] for n in names} for field, names in order.items()})
