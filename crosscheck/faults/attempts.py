"""Attempts to close a gap between twins: the catalogue's mistakes are made in one twin's source as well."""

from collections.abc import Iterator
from dataclasses import dataclass

from crosscheck import recording
from crosscheck.compare import compare
from crosscheck.faults.fault import Fault
from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.flips.attempts import Attempt, moved, quick
from crosscheck.pair import build_pair
from crosscheck.recording import Recording
from crosscheck.report import Report
from crosscheck.rows import Row
from crosscheck.suite import Check
from crosscheck.values import as_call
from shared.errors import IsogradError
from shared.registry import find_twin

PLAIN_FILES = (  # what twins of all kinds run
    "layers/attention.py", "losses.py", "optimizer.py", "update.py", "objective.py", "backend.py", "precision.py",
    "dropout.py", "random_bits.py", "weights.py",
)  # fmt: skip


def mistakes_of(check: Check, report: Report) -> Iterator[Attempt]:
    """The catalogue's mistakes made in one twin's source as well: the gap is gone if both then make the same one.

    Mistakes in the file of the module at fault come first; only those are tried that show in the same phase.
    """
    if report.first_divergence is None or report.recordings is None:
        return
    files = _files(check, report)
    phase, is_run = report.first_divergence.phase, check.mode == "run"
    known = [f for f in FAULTS.values() if f.divergence and f.phase == phase and (f.mode == "run") == is_run]
    for fault in sorted(known, key=lambda fault: files.get(_file(fault), len(files))):
        if _file(fault) in files:
            made = _Planted(fault, check, report)
            yield Attempt(str(fault.divergence), fault.what, made.compared, made.moves, in_both=True)


@dataclass(frozen=True)
class _Planted:
    """A check with a mistake planted in one twin; the other's values are those on record."""

    fault: Fault
    check: Check
    report: Report

    def compared(self) -> Report:
        """The comparison where both sides make the mistake."""
        if self.check.mode == "run":
            with planted(self.fault.changes):
                return self.check.run()
        sides = {**self._recorded, self.fault.side: self._changed()}
        return compare(sides["torch"], sides["jax"], name=self.check.twin)

    def moves(self, row: Row) -> float:
        """How far the mistake moves the row's tensor on its side, relative to its norm."""
        if self.check.mode == "run":
            raise IsogradError("the steps of a training run are not compared by the size of a gap")
        return moved(self._changed(), self._recorded[self.fault.side], row)

    @property
    def _recorded(self) -> dict[str, Recording]:
        return dict(zip(("torch", "jax"), self.report.recordings or (), strict=True))

    def _changed(self) -> Recording:
        check, old = self.check, self._recorded[self.fault.side]
        with planted(self.fault.changes):
            pair = build_pair(check.twin, dtype=check.dtype, case=check.case, device=check.device, seed=check.seed)
            return recording.run(old.side, getattr(pair, old.side), as_call(pair.inputs), quick(old), old.name)


def _file(fault: Fault) -> str:
    """The file of a fault, inside its package."""
    return fault.changes[0].path.partition("/")[2]


def _files(check: Check, report: Report) -> dict[str, int]:
    """Files that the check's twin runs: that of the module at fault first."""
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
