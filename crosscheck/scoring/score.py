"""Scores the checks: is every planted fault caught and located, and do equal pairs raise alarms?"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.planting import current_source, planted
from crosscheck.faults.table import EQUIVALENTS, FAULTS
from crosscheck.report import Report
from crosscheck.runs.compare_runs import trainable
from crosscheck.scoring.journal import Progress, judge_all
from crosscheck.scoring.published_criteria import CRITERIA, PUBLISHED_DTYPES
from crosscheck.twins.suite import DTYPES, TRAINED, Check
from shared.configs.validation import check_choice
from shared.errors import WeightsError
from shared.example_inputs import cases
from shared.registry import TWINS

Planted = TypeVar("Planted", Fault, Equivalent)


@dataclass(frozen=True)
class Outcome:
    """One checked pair: a fault, an equivalent, or an unchanged pair with a different seed."""

    name: str
    group: str
    killed: bool
    located: bool
    found: str
    expected: str
    caught_by: tuple[str, ...]
    explained: str | None = None
    divergence: str | None = None  # of a fault that is to be named: the row that it should be named by
    dtype: str = "float64"


def score(
    faults: Iterable[str] = (),
    seeds: int = 100,
    explained: bool = True,
    progress: Progress | None = None,
    dtypes: Sequence[str] = (),
    journal: Path | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """The score as data: killed, located and explained faults, false alarms, and what published criteria catch.

    `faults` are names or patterns (default: all); `seeds` is the number of unchanged pairs. Each fault and equivalent
    is judged in its own dtype, or in all of `dtypes` that its check can be made in; names are asked for in its own.
    Outcomes are kept in the journal and taken from there; "of" is the number of all, also of those that Ctrl-C has
    kept from being judged.
    Raises IsogradError for an unknown fault or dtype.
    """
    for dtype in dtypes:
        check_choice("dtype", dtype, DTYPES)
    names = dict.fromkeys(name for pattern in faults or ["*"] for name in matching(pattern))
    jobs = [
        Job(group, name, explained and group == "fault" and dtype == table[name].dtype, dtype)  # type: ignore[index]
        for group, table, wanted in (
            ("fault", FAULTS, names),
            ("equivalent", EQUIVALENTS, () if faults else EQUIVALENTS),
        )
        for name in wanted
        for dtype in _dtypes_of(table[name], dtypes)  # type: ignore[index]
    ]
    jobs += [Job("seed", str(seed)) for seed in range(seeds if not faults else 0)]
    # planting affects the whole process: each worker has one job at a time
    found = judge_all(run_job, jobs, asdict, _restored, journal=journal, workers=workers, progress=progress)
    return {**summarise([outcome for outcome in found if outcome]), "of": len(jobs), "asked": list(dtypes)}


def matching(pattern: str) -> list[str]:
    found = fnmatch.filter(FAULTS, pattern)
    if not found:
        check_choice("fault", pattern, FAULTS)
    return found


class Job(NamedTuple):
    """One pair to check: a "fault" or an "equivalent" by name, in a dtype or its own, or a "seed" by number."""

    group: str
    name: str
    explained: bool = False
    dtype: str = ""

    @property
    def planted(self) -> Fault | Equivalent | None:
        """The row of the table, in the dtype that is asked for."""
        tables: dict[str, Mapping[str, Fault | Equivalent]] = {"fault": FAULTS, "equivalent": EQUIVALENTS}
        return _in_dtype(tables[self.group][self.name], self.dtype) if self.group in tables else None

    @property
    def check(self) -> Check:
        return check_of(self.planted) if self.planted else seeded_check(int(self.name))

    @property
    def key(self) -> str:
        """What the pair is called, whatever its row says."""
        return " ".join([self.group, self.name, self.check.twin, self.check.dtype])

    @property
    def content(self) -> dict[str, Any]:
        """The row, the check, and the files before the change: what was judged with others is judged again."""
        changes = self.planted.changes if self.planted else ()
        files = {change.path: current_source(change.path) for change in changes}
        row = asdict(self.planted) if self.planted else None
        return {"row": row, "check": asdict(self.check), "files": files, "explained": self.explained}

    @property
    def size(self) -> tuple[int, ...]:
        """Trainings take longest, then explanations; a twin of many cases is a large one."""
        is_explained = self.explained and bool(getattr(self.planted, "divergence", None))
        return self.check.mode == "run", is_explained, len(cases(TWINS[self.check.twin]))


def _dtypes_of(planted: Fault | Equivalent, dtypes: Sequence[str]) -> list[str]:
    """Those dtypes that its check can be made in: a training run has float32 weights at least."""
    return [dtype for dtype in dtypes or [planted.dtype] if planted.mode != "run" or dtype in TRAINED]


def run_job(job: Job) -> Outcome:
    """The outcome of one job; what raises an exception goes wrong: a fault that is not caught, or a false alarm."""
    try:
        return _run(job)
    except Exception as error:  # noqa: BLE001  # one of a thousand pairs must not end the others
        is_fault, found = job.group == "fault", f"raised {type(error).__name__}: {error}"
        group = FAULTS[job.name].kind if is_fault else job.group
        return Outcome(job.name, group, not is_fault, False, found, "", (), dtype=job.check.dtype)


def _restored(plain: dict[str, Any]) -> Outcome:
    return Outcome(**{**plain, "caught_by": tuple(plain["caught_by"])})


def _run(job: Job) -> Outcome:
    if isinstance(job.planted, Fault):
        return try_fault(job.planted, job.explained)
    with planted(job.planted.changes if job.planted else ()):
        return _outcome(job.name, job.group, job.check.run(), expected="agrees")


def _in_dtype(planted: Planted, dtype: str) -> Planted:
    return replace(planted, dtype=dtype) if dtype else planted


def try_fault(fault: Fault, explained: bool = False) -> Outcome:
    """Plant one fault and run its check."""
    expected = f"{fault.module or '(the twin itself)'}, {fault.phase}"
    row = fault.divergence if explained else None
    with planted(fault.changes):
        try:
            report = check_of(fault).run()
            named = _explanation(fault, report) if row else None
        except WeightsError as error:  # a broken weight rule is refused before anything runs: that counts
            is_located, found = fault.phase == "parameters", f"refused: {error}"
            return Outcome(fault.name, fault.kind, True, is_located, found, expected, (), None, row, fault.dtype)
    outcome = _outcome(fault.name, fault.kind, report, expected)
    return replace(outcome, located=_is_located(fault, report), explained=named, divergence=row)


def check_of(fault: Fault | Equivalent) -> Check:
    """The check that a fault must fail."""
    return Check(fault.twin, fault.case, fault.dtype, fault.mode, "cpu", keep_values=True)


def seeded_check(seed: int) -> Check:
    """A check of unchanged twins: every case in turn, train mode and runs, each with another twin and dtype next time.

    Weights and inputs differ with every seed. Runs are proven in float64, as the suite does.
    """
    kinds = [("eval", case) for case in dict.fromkeys(case for twin in TWINS.values() for case in cases(twin))]
    kinds += [("train", "odd_sizes"), ("run", "odd_sizes")]
    turn, (mode, case) = seed // len(kinds), kinds[seed % len(kinds)]
    names = [name for name, twin in TWINS.items() if case in cases(twin) and _has(mode, name)]
    dtype = "float64" if mode == "run" else DTYPES[seed % len(DTYPES)]
    return Check(names[(seed + turn) % len(names)], case, dtype, mode, "cpu", seed=seed + 1, keep_values=True)


def _has(mode: str, name: str) -> bool:
    return {"eval": True, "train": not TWINS[name].function, "run": trainable(name)}[mode]


def _outcome(name: str, group: str, report: Report, expected: str) -> Outcome:
    caught_by = ()
    if report.recordings is not None:
        values = [recording.values for recording in report.recordings]
        with np.errstate(all="ignore"):
            caught_by = tuple(each.name for each in CRITERIA if not each.passes(values[0], values[1]))
    found = "agrees" if report.first_divergence is None else ", ".join(report.first_divergence)
    return Outcome(name, group, not report.agrees, False, found, expected, caught_by, dtype=report.dtype)


def _is_located(fault: Fault, report: Report) -> bool:
    if report.first_divergence is None:
        return False
    module = f"{fault.twin}.{fault.module}" if fault.module else fault.twin
    return report.first_divergence[:2] == (module, fault.phase)


def _explanation(fault: Fault, report: Report) -> str | None:
    from crosscheck.explain import explain_check

    found = explain_check(check_of(fault), report, without=fault.name).divergence
    return found.id if found else None


def summarise(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts by kind of fault and by published criterion, and the names of everything that went wrong."""
    alarms = {group: [o for o in outcomes if o.group == group] for group in ("equivalent", "seed")}
    faults = [o for o in outcomes if o.group not in alarms]
    known = [o for o in faults if o.divergence]
    honest = [o for group in alarms.values() for o in group]
    return {
        "asked": [],
        "judged": len(outcomes),
        "of": len(outcomes),
        "total": len(faults),
        "killed": sum(o.killed for o in faults),
        "located": sum(o.located for o in faults),
        "known": len(known),
        "named": sum(o.explained == o.divergence for o in known),
        "kinds": _counts(faults, "kind", "group"),
        "dtypes": _counts(faults, "dtype", "dtype"),
        "criteria": _by_criterion(faults, honest),
        "equivalents": _alarms(alarms["equivalent"]),
        "seeds": _alarms(alarms["seed"]),
        "survivors": [_named(o) + (f": {o.found}" if o.found != "agrees" else "") for o in faults if not o.killed],
        "misplaced": [
            f"{_named(o)}: expected {o.expected}; found {o.found}" for o in faults if o.killed and not o.located
        ],
        "unnamed": [f"{_named(o)}: {o.divergence}, named {o.explained}" for o in known if o.explained != o.divergence],
        "outcomes": [asdict(o) for o in outcomes],
    }


def _named(outcome: Outcome) -> str:
    """Its name, and the dtype where that is not the proof's."""
    return outcome.name if outcome.dtype in ("", "float64") else f"{outcome.name} in {outcome.dtype}"


def _counts(faults: list[Outcome], heading: str, field: str) -> list[dict[str, Any]]:
    """How many faults are planted, caught and located, by one of their fields."""
    groups = {value: [o for o in faults if getattr(o, field) == value] for value in (getattr(o, field) for o in faults)}
    return [
        {
            heading: value,
            "planted": len(group),
            "killed": sum(o.killed for o in group),
            "located": sum(o.located for o in group),
        }
        for value, group in groups.items()
    ]


def _by_criterion(faults: list[Outcome], honest: list[Outcome]) -> list[dict[str, Any]]:
    """Each criterion over what is computed in a dtype that it was published for."""
    faults, honest = ([o for o in group if o.dtype in PUBLISHED_DTYPES] for group in (faults, honest))
    return [
        {
            "name": each.name,
            "rule": each.rule,
            "caught": sum(each.name in o.caught_by for o in faults),
            "of": len(faults),
            "alarms": sum(each.name in o.caught_by for o in honest),
            "honest": len(honest),
        }
        for each in CRITERIA
    ]


def _alarms(outcomes: list[Outcome]) -> dict[str, Any]:
    alarms = [f"{o.name}: {o.found}" for o in outcomes if o.killed]
    return {"checked": len(outcomes), "alarms": len(alarms), "names": alarms}
