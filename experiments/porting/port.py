"""`isograd port`: carry the weights of a model from one format to another without losing a bit."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from experiments.catalogue import EXPERIMENTS
from experiments.porting.formats import (
    PRETRAINED,
    Source,
    check_fit,
    check_writable,
    complete,
    format_of,
    pretrained,
    read,
    read_metadata,
    recognise,
    write,
)
from shared.configs.validation import check_choice
from shared.errors import IsogradError
from shared.json_text import parse_json
from shared.lazy.arrays import LazyArrays
from shared.pretrained.folder import cast, names_of
from shared.registry import TWINS, Twin


@dataclass(frozen=True)
class Output:
    """One output of the model: the relative L2 difference between the frameworks in float64, and its bound."""

    name: str
    error: float
    bound: float


@dataclass(frozen=True)
class PortReport:
    """The result of a port; verification fills in `identical` and `outputs`."""

    source: str
    source_format: str
    destination: str
    format: str
    twin: str
    arguments: dict[str, Any]
    tensors: int
    parameters: int
    dtypes: list[str]
    notes: list[str] = field(default_factory=list)
    mapping: list[tuple[str, str]] = field(default_factory=list)
    identical: bool | None = None
    outputs: list[Output] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """False if a verification failed: the command then exits with code 1."""
        return self.identical is not False and all(output.error <= output.bound for output in self.outputs)

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self) | {"agrees": self.agrees})

    def __str__(self) -> str:
        lines = [
            *self.notes,
            f"{self.source} ({self.source_format}) -> {self.destination} ({self.format}): {self.twin}, "
            f"{self.parameters:,} parameters in {self.tensors} tensors, {', '.join(self.dtypes)}",
        ]
        lines += [f"{theirs} -> {ours}" for theirs, ours in self.mapping]
        if self.mapping:
            lines.append("nothing was written: this was a dry run")
        if self.identical is not None:
            lines.append(f"read back: {'every byte is identical' if self.identical else 'BYTES DIFFER'}")
        lines += [
            f"output {output.name}: {_difference(output.error)}, bound {output.bound:.0e}: "
            f"{'agrees' if output.error <= output.bound else 'DISAGREES'}"
            for output in self.outputs
        ]
        return "\n".join(lines)


def _difference(error: float) -> str:
    if math.isfinite(error):
        return f"torch and JAX differ by {error:.1e} in float64"
    return "not finite in torch or JAX, so they can't be compared: are the weights finite?"


def port(
    src: str | Path,
    dst: str | Path,
    to: str | None = None,
    model: str | None = None,
    arguments: str | Mapping[str, Any] | None = None,
    verify: bool = False,
    dtype: str | None = None,
    dry_run: bool = False,
) -> PortReport:
    """Port the weights at `src` (a file, a folder, a checkpoint or a run) to `dst` in the format `to`.

    The model is the one that the source names, or else `model`, an experiment or a twin, with constructor `arguments`
    as JSON text or a dict. Floats are cast to `dtype` if given. A dry run writes nothing; its report holds the names of
    every array in both formats. Raises IsogradError, with nothing written, if anything does not fit.
    """
    source, destination = recognise(Path(src)), Path(dst)
    chosen = format_of(destination, to)
    check_writable(destination, chosen, source.path)
    metadata = read_metadata(source)
    twin, found = find_model(source, metadata, model, _parsed(arguments))
    arrays = cast(read(source, twin, found), dtype)
    if source.format in FRAMELESS and chosen in FRAMELESS:
        check_fit(arrays, twin, found)
    mapping = names_in_both(source.format, chosen, twin, found, arrays)
    if not dry_run:
        write(chosen, destination, arrays, twin, found, metadata | {"twin": twin.name, "arguments": found})
    checked = _verified(Source(chosen, destination), arrays, twin, found) if verify and not dry_run else {}
    return PortReport(
        source=str(source.path),
        source_format=source.format,
        destination=str(destination),
        format=chosen,
        twin=twin.name,
        arguments=found,
        tensors=len(arrays),
        parameters=sum(array.size for array in arrays.values()),
        dtypes=sorted({str(array.dtype) for array in arrays.values()}),
        notes=source.notes,
        mapping=mapping if dry_run else [],
        **checked,
    )


def find_model(
    source: Source, metadata: Mapping[str, Any], model: str | None, arguments: Mapping[str, Any]
) -> tuple[Twin, dict[str, Any]]:
    """The twin and its constructor arguments: as given by the user, else from the source's metadata."""
    name, known = model, dict[str, Any]()
    if source.format in PRETRAINED:
        folder = pretrained(source, model)
        source.notes.extend(f"left out: {tensor}" for tensor in folder.left_out)
        name, known = folder.twin, dict(folder.arguments)
        model = None
    if name is None:
        name, known = _of_metadata(source, metadata)
    if name is None:
        raise IsogradError(
            f"{source.path} does not say which model its weights belong to: add --model with an experiment or a twin "
            f"(and --arguments with its constructor arguments as JSON), such as --model {next(iter(EXPERIMENTS))}"
        )
    if model in EXPERIMENTS:
        name, known = EXPERIMENTS[model].model.twin, dict(EXPERIMENTS[model].model.arguments)
    check_choice("model", name, [*EXPERIMENTS, *TWINS])
    if TWINS[name].function:
        raise IsogradError(f"{name} is a function and has no weights: pass --model with an experiment or a class")
    known |= arguments
    undecided = [key for key, value in known.items() if value is None and not _may_be_none(TWINS[name], key)]
    if undecided:
        raise IsogradError(f"{model} takes {', '.join(undecided)} from its data: pass them as JSON with --arguments")
    return TWINS[name], known


def _may_be_none(twin: Twin, argument: str) -> bool:
    """Whether None is a value of its own, not one that the data decides."""
    known = {} if twin.config is None else {field.name: str(field.type) for field in fields(twin.config)}
    return "None" in known.get(argument, "")


FRAMELESS = ("safetensors", *PRETRAINED)


def names_in_both(
    source: str, chosen: str, twin: Twin, arguments: Mapping[str, Any], arrays: LazyArrays
) -> list[tuple[str, str]]:
    """The names of every canonical array in the source and in the destination."""
    ours = {name: name for name in arrays}
    sides = [
        names_of(twin.name, complete(twin, arguments), ours, each == "linen") if each in PRETRAINED else ours
        for each in (source, chosen)
    ]
    return [(sides[0][name], sides[1][name]) for name in arrays]


def _of_metadata(source: Source, metadata: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The twin and its arguments as the source names them."""
    name, known = metadata.get("twin"), metadata.get("arguments", {})
    if not isinstance(name, str | None) or not isinstance(known, Mapping):
        raise IsogradError(
            f"{source.path}: expected a twin's name and its arguments in the metadata, got {name!r} and {known!r}: "
            "pass --model and --arguments"
        )
    return name, dict(known)


def _parsed(arguments: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if arguments is None or isinstance(arguments, Mapping):
        return dict(arguments or {})
    try:
        parsed = parse_json(arguments)
    except ValueError as error:
        raise IsogradError(f"--arguments must be JSON such as '{{\"hidden_size\": 64}}', got {arguments!r}") from error
    if not isinstance(parsed, dict):
        raise IsogradError(f"--arguments must be a JSON object of names and values, got {arguments!r}")
    return parsed


def _verified(written: Source, arrays: LazyArrays, twin: Twin, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from experiments.porting.verification import forward_differences, is_identical

    again = read(written, twin, arguments)
    differences = forward_differences(again, twin, arguments)
    return {"identical": is_identical(again, arrays), "outputs": [Output(*difference) for difference in differences]}
