"""Explain a disagreement: flip one known default at a time on one side until the gap is gone, and name that default."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck import criterion, recording
from crosscheck.compare import compare
from crosscheck.divergences.known import KnownDivergence
from crosscheck.divergences.table import DIVERGENCES
from crosscheck.isolation import canonical
from crosscheck.recording import Recording
from crosscheck.report import Report
from crosscheck.rows import KIND, Row, strict
from crosscheck.suite import Check, check_arguments
from crosscheck.values import Arrays, Options, as_call, is_float, map_arguments
from shared.errors import IsogradError
from shared.registry import find_twin

PLAIN_FILES = (  # what twins of all kinds run
    "layers/attention.py", "losses.py", "optimizer.py", "backend.py", "precision.py", "dropout.py", "random_bits.py",
    "weights.py",
)  # fmt: skip
# Rows that lose digits: two frameworks lose other ones, so the gap can't close, but a flip makes one of the same size.
LOSES_DIGITS = ("D20", "D51", "D52", "D53", "D69")
SAME_SIZE = 8.0  # honest programs' rounding errors differ by small factors, one precision from the next by thousands
FEW_RUNS = 2
Attempt = tuple[str, str, Callable[[], Report]]  # (row of the catalogue, what is flipped, the comparison with it)


@dataclass(frozen=True)
class Explanation:
    """The gap, the row of the catalogue that explains it (None: none does), what was flipped, how many were tried."""

    report: Report
    divergence: KnownDivergence | None
    flipped: str = ""
    tried: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the divergence's row, what was flipped, and where the two part."""
        row = (
            {name: value for name, value in vars(self.divergence).items() if name != "measure"}
            if self.divergence
            else None
        )
        found = {"divergence": row, "flipped": self.flipped or None, "tried": self.tried}
        report = {name: value for name, value in self.report.to_dict().items() if name != "rows"}
        return strict({**found, "report": report})

    def __str__(self) -> str:
        if self.report.agrees:
            return f"{self.report.title}: agrees, there is nothing to explain"
        lines = [str(self.report).partition("\n")[0]]
        if self.divergence is None:
            return "\n".join([*lines, f"  no known divergence explains it: {self.tried} flips tried"])
        found = self.divergence
        lines += [f"  {found.id} {found.name} explains it: {self.flipped}, and the gap is gone"]
        lines += [f"  when: {found.trigger}", f"  source: {found.source}"]
        lines += [f"  change the JAX side: {found.to_torch}", f"  or the torch side: {found.to_jax}"]
        return "\n".join(lines)


def explain(torch_module: Any, jax_module: Any, inputs: Any, **options: Any) -> Explanation:
    """Compare two modules as `compare` does (the same options), and name the known default that makes the difference.

    Raises IsogradError as `compare` does.
    """
    report = compare(torch_module, jax_module, inputs, **options)
    if report.agrees:
        return Explanation(report, None)
    found = _first_that_helps(report, _attempts(torch_module, report, options))
    if found.divergence:
        return found
    return _of_the_same_size(report, _attempts(torch_module, report, options)) or _in_float32(report) or found


def explain_check(check: Check, report: Report | None = None) -> Explanation:
    """Name the known default behind the disagreement of one check of the suite; `report` is its, if it was run."""
    from crosscheck.pair import build_pair

    check = replace(check, keep_values=True)
    report = report or check.run()
    if report.agrees:
        return Explanation(report, None)
    attempts: list[Attempt] = []
    if check.mode != "run":
        pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
        how = {"train": check.mode == "train", "name": check.twin, "device": check.device}
        attempts += _attempts(pair.torch, report, how)
    planted = list(_twin_attempts(check, report))
    found = _first_that_helps(report, iter([*attempts, *planted]))
    return found if found.divergence else _of_the_same_size(report, planted) or _in_float32(report) or found


def explain_twin(
    twin: str,
    *,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    device: str = "cpu",
) -> Explanation:
    """`explain` for a twin of the registry, with a fault planted if one is named.

    Raises IsogradError for an unknown twin, case, dtype, device or fault.
    """
    from crosscheck.faults.planting import planted
    from crosscheck.faults.table import find_fault

    check_arguments(twin, case, dtype, device)
    with planted(find_fault(fault).changes if fault else ()):
        return explain_check(Check(twin, case, dtype, "train" if train else "eval", device))


def _first_that_helps(report: Report, attempts: Iterator[Attempt]) -> Explanation:
    tried = 0
    for row, what, run in attempts:
        tried += 1
        with contextlib.suppress(IsogradError):  # a flip that does not fit these modules explains nothing
            if _is_gone(run()):
                return Explanation(report, DIVERGENCES[row], what, tried)
    return Explanation(report, None, tried=tried)


def _is_gone(report: Report) -> bool:
    """True if nothing differs any more, or only in that both sides have NaN in the same places."""
    if report.agrees or report.recordings is None:
        return report.agrees
    fields = {KIND[row.kind].attribute for row in report.disagreements}
    pairs = [
        (array, getattr(report.recordings[1].values, field).get(name))
        for field in filter(None, fields)
        for name, array in getattr(report.recordings[0].values, field).items()
    ]
    return any(is_float(a.dtype) and np.isnan(a).any() for a, _ in pairs) and all(
        b is not None and a.shape == b.shape and criterion.prove(_nan_as_zero(a, b), _nan_as_zero(b, a), 0.0).agrees
        for a, b in pairs
    )


def _nan_as_zero(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The array with zeros where both have NaN."""
    return np.where(np.isnan(array) & np.isnan(other), 0.0, array)


def _in_float32(report: Report) -> Explanation | None:
    """D53, if every number of the first tensor that differs is a float32 number on one side of a float64 run."""
    row, both = report.first_row, report.recordings
    if row is None or both is None or report.dtype != "float64":
        return None
    for side in both:
        array = getattr(side.values, KIND[row.kind].attribute or "outputs").get(row.tensor)
        narrow = array is not None and is_float(array.dtype) and array.any()
        if narrow and np.array_equal(array, array.astype(np.float32)):
            return Explanation(
                report, DIVERGENCES["D53"], f"all numbers of {row.label} are float32's on {side.side}'s side"
            )
    return None


def _of_the_same_size(report: Report, attempts: Iterable[Attempt]) -> Explanation | None:
    """A row that loses digits, if the mistake moves one side by itself as far as the two sides lie apart."""
    first = report.first_row
    for tried, (row, what, run) in enumerate(attempts, 1):
        if first is not None and row in LOSES_DIGITS and isinstance(run, _Planted | _Flipped):
            with contextlib.suppress(IsogradError):
                share = run.moves(first) / first.error
                if 1 / SAME_SIZE <= share <= SAME_SIZE:
                    return Explanation(report, DIVERGENCES[row], f"{what}: a gap of this size", tried)
    return None


def _moved(new: Recording, old: Recording, row: Row) -> float:
    """How far the row's tensor has moved, relative to its norm."""
    arrays = [getattr(side.values, KIND[row.kind].attribute).get(row.tensor) for side in (new, old)]
    if any(array is None for array in arrays):
        raise IsogradError(f"{row.label} is not on record")
    return criterion.difference(*arrays) / (criterion.norm(arrays[1]) or 1.0)


def _attempts(torch_module: Any, report: Report, options: dict[str, Any]) -> Iterator[Attempt]:
    """Flips of the torch side against the JAX run on record, which needs no second compilation.

    A torch side that is a recording itself can't be flipped, but its weights can be looked at.
    """
    from crosscheck import flips

    if report.recordings is None or report.first_divergence is None:
        return
    ours, theirs = report.recordings
    if report.first_divergence.phase == "parameters":
        yield from _layouts(torch_module, ours, theirs, report)
        return
    if isinstance(torch_module, Recording | str | Path):
        return
    given = recording.with_own(ours.arguments or ((), {}), options.get("torch_arguments"))
    for flip in flips.FLIPS:
        changed = _changed(torch_module, given, flip)
        if changed is not None:
            run = _Flipped(flip, *changed, ours, theirs, options)
            yield flip.divergence, flip.what, run


@dataclass(frozen=True)
class _Flipped:
    """The comparison with one flip of the torch side."""

    flip: Any
    module: Any
    arguments: Any
    ours: Recording
    theirs: Recording
    options: dict[str, Any]

    def __call__(self) -> Report:
        found = self._changed()
        values = replace(
            found.values,
            inputs=self.ours.values.inputs,
            parameters=self.ours.values.parameters,
            updates={} if self.flip.weights else found.values.updates,
        )
        return compare(replace(found, values=values, arguments=self.ours.arguments), self.theirs, name=self.ours.name)

    def moves(self, row: Row) -> float:
        """How far the flip moves the row's tensor, relative to its norm."""
        return _moved(self._changed(), self.ours, row)

    def _changed(self) -> Recording:
        from crosscheck.flips import Replaced

        optimizer = (self.options.get("optimizers") or (None,))[0]
        with Replaced(self.flip.functions) as mode:
            found = recording.run("torch", self.module, self.arguments, quick(self.ours), self.ours.name, optimizer)
        if self.flip.functions and not mode.used:
            raise IsogradError("the module does not call what this flip changes")
        gradients = self._undone(found.values.parameter_gradients)
        found = replace(found, values=replace(found.values, parameter_gradients=gradients))
        return canonical(found, self.options.get("layouts") or {})

    def _undone(self, gradients: Arrays) -> Arrays:
        if self.flip.undo is None:
            return gradients
        found = {name: (self.flip.undo(name, array), array) for name, array in gradients.items()}
        return {name: array if undone is None else undone for name, (undone, array) in found.items()}


def _changed(module: Any, arguments: Any, flip: Any) -> tuple[Any, Any] | None:
    """A copy of the module and the arguments with the flip made; None if there is nothing to change."""
    import torch

    from crosscheck.flips import changed_weights
    from torch_impl.weights import to_numpy, to_tensor

    if flip.layers is not None:
        module = copy.deepcopy(module)
        return (module, arguments) if isinstance(module, torch.nn.Module) and flip.layers(module) else None
    if flip.weights is not None:
        if not isinstance(module, torch.nn.Module):
            return None
        module = copy.deepcopy(module)
        parameters = dict(module.named_parameters())
        changed = changed_weights({name: to_numpy(p) for name, p in parameters.items()}, flip)
        for name, array in changed.items():
            parameters[name].data = to_tensor(array, parameters[name].device)
        return (module, arguments) if changed else None
    if flip.inputs is not None:
        found: list[bool] = []

        def change(name: str, array: np.ndarray) -> np.ndarray:
            new = flip.inputs(name, array)
            found.append(new is not None)
            return array if new is None else new

        arguments = map_arguments(change, *arguments)
        return (module, arguments) if any(found) else None
    return module, arguments


def quick(recorded: Recording) -> Options:
    """The options of a recording with the noise measured in few runs: a wrong flip is off by far more."""
    return replace(recorded.options, noise_runs=FEW_RUNS)


def _layouts(torch_module: Any, ours: Recording, theirs: Recording, report: Report) -> Iterator[Attempt]:
    """Layouts that turn every differing weight of torch's into JAX's: found by looking, nothing is run again."""
    from crosscheck.flips import heads_of, layouts_between

    wrong = [row.tensor for row in report.disagreements if row.kind == "parameter"]
    found: list[dict[str, str]] = [{} for _ in wrong]
    for name, words in zip(wrong, found, strict=True):
        pair = ours.values.parameters[name], theirs.values.parameters[name]
        for row, what in layouts_between(*pair, heads_of(torch_module)):
            words.setdefault(row, what)
    for row in found[0] if found else ():
        if all(row in each for each in found):
            yield row, f"{found[0][row]} ({', '.join(wrong[:3])})", functools.partial(replace, report, rows=[])


def _twin_attempts(check: Check, report: Report) -> Iterator[Attempt]:
    """The catalogue's mistakes made in one twin's source as well: the gap is gone if both then make the same one.

    Mistakes in the file of the module at fault come first; only those are tried that show in the same phase.
    """
    from crosscheck.faults.table import FAULTS

    if report.first_divergence is None or report.recordings is None:
        return
    files = _files(check, report)
    phase, is_run = report.first_divergence.phase, check.mode == "run"
    known = [f for f in FAULTS.values() if f.divergence and f.phase == phase and (f.mode == "run") == is_run]
    for fault in sorted(known, key=lambda fault: files.get(_file(fault), len(files))):
        if _file(fault) in files:
            yield fault.divergence, f"if both sides have it ({fault.what})", _Planted(fault, check, report)


@dataclass(frozen=True)
class _Planted:
    """The comparison with a mistake planted in one twin; the other's values are those on record."""

    fault: Any
    check: Check
    report: Report

    def __call__(self) -> Report:
        from crosscheck.faults.planting import planted

        if self.check.mode == "run":
            with planted(self.fault.changes):
                return self.check.run()
        sides = {**self._recorded, self.fault.side: self._changed()}
        return compare(sides["torch"], sides["jax"], name=self.check.twin)

    def moves(self, row: Row) -> float:
        """How far the mistake moves the row's tensor on its side, relative to its norm."""
        if self.check.mode == "run":
            raise IsogradError("the steps of a training run are not compared by the size of a gap")
        return _moved(self._changed(), self._recorded[self.fault.side], row)

    @property
    def _recorded(self) -> dict[str, Recording]:
        return dict(zip(("torch", "jax"), self.report.recordings or (), strict=True))

    def _changed(self) -> Recording:
        from crosscheck.faults.planting import planted
        from crosscheck.pair import build_pair

        check, old = self.check, self._recorded[self.fault.side]
        with planted(self.fault.changes):
            pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
            return recording.run(old.side, getattr(pair, old.side), as_call(pair.inputs), quick(old), old.name)


def _file(fault: Any) -> str:
    """The file of a fault, inside its package."""
    return fault.changes[0].path.partition("/")[2]


def _files(check: Check, report: Report) -> dict[str, int]:
    """Files that the check's twin runs: that of the module at fault first."""
    from crosscheck.pair import build_pair

    twin = find_twin(check.twin)
    own = f"{twin.module.replace('.', '/')}.py"
    module = build_pair(check.twin).torch if not twin.function else None
    layers = dict(module.named_modules()) if module is not None else {}
    guilty = report.first_divergence.module.partition(".")[2] if report.first_divergence else ""
    kinds = [type(layers.get(guilty)), *(type(layer) for layer in layers.values())]
    found = [
        kind.__module__.partition(".")[2].replace(".", "/") + ".py" for kind in kinds if "_impl" in kind.__module__
    ]
    return {file: place for place, file in enumerate(dict.fromkeys([*found, own, *PLAIN_FILES]))}
