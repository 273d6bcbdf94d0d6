"""What tells runs apart: the settings that differ between their config.json, in the words of labels and tables."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.catalogue import EXPERIMENTS
from experiments.plain_text import printable
from experiments.reports.run_settings import of_experiment, settings_of, show
from experiments.reports.runs import Run
from experiments.training.settings import Settings, with_settings

FOLLOWS = {  # heading -> the settings that may decide it: it is left out where they do
    "data fingerprint": ("data",),
    "vocabulary": ("data", "data fingerprint"),
    "vocabulary fingerprint": ("data", "data fingerprint", "vocabulary"),
    "vocabulary size": ("data fingerprint", "vocabulary fingerprint"),
    "num classes": ("data fingerprint",),
    "sequence length": ("data fingerprint", "vocabulary fingerprint"),
    "length": ("data fingerprint", "vocabulary fingerprint"),
    "inputs": ("bucket lengths",),
    "horizon": ("schedule", "planned length"),
}
ALWAYS_TOLD = ("experiment", "backend", "dtype", "device", "data", "vocabulary")  # that no experiment has of its own
MOST_SETTINGS = 4  # in a label; with more, it leaves out the values that most runs have
VERSIONS = {"device": "processor"}  # name in a run's versions -> its heading, other names are their own
NOT_VERSIONS = ("backend", "dtype")  # there, but settings


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with the settings in which they differ, numbered in the order of these settings.

    Runs with equal settings are told apart by versions, and if these are equal, too, by their folders.
    """
    values = [settings_of(run) for run in runs]
    columns = _columns(values)
    told = [heading for heading in columns if _differs(columns[heading]) or _is_own(heading, runs, columns)]
    found = [heading for heading in told if not _is_implied(heading, runs, columns)]
    ordered = sorted(range(len(runs)), key=lambda place: [_rank(name, values[place].get(name)) for name in found])
    differing = [{name: show(values[place][name]) for name in found if name in values[place]} for place in ordered]
    runs = [runs[place] for place in ordered]
    usual = _usual(differing) if len(found) > MOST_SETTINGS else {}
    for tell in (_versions, _folders):
        differing = tell(runs, differing)
    return [
        replace(run, differing=told, usual=usual, number=number)
        for number, (run, told) in enumerate(zip(runs, differing, strict=True))
    ]


def _columns(values: Sequence[dict[str, Any]]) -> dict[str, list[str | None]]:
    """The texts of every setting, None for runs that do not have it."""
    headings = dict.fromkeys(heading for settings in values for heading in settings)
    return {
        heading: [show(settings[heading]) if heading in settings else None for settings in values]
        for heading in headings
    }


def _differs(texts: Iterable[str | None]) -> bool:
    return len({text for text in texts if text is not None}) > 1


def _is_own(heading: str, runs: Sequence[Run], columns: dict[str, list[str | None]]) -> bool:
    """True for a setting that only some runs have, changed from the catalogue's."""
    pairs = list(zip(runs, columns[heading], strict=True))
    return None in columns[heading] and not all(_is_as_in_the_catalogue(heading, run, text) for run, text in pairs)


def _is_implied(heading: str, runs: Sequence[Run], columns: dict[str, list[str | None]]) -> bool:
    """True if a reader can infer a setting from those that decide it, or from the names of the experiments."""
    decided_by = [columns[name] for name in FOLLOWS.get(heading, ())]
    return (bool(decided_by) and _is_decided(columns[heading], decided_by)) or (
        heading not in ALWAYS_TOLD
        and _is_decided(columns[heading], [columns["experiment"]])
        and all(_is_as_in_the_catalogue(heading, run, text) for run, text in zip(runs, columns[heading], strict=True))
    )


def _is_decided(texts: Sequence[str | None], by: Sequence[Sequence[str | None]]) -> bool:
    """True if runs that are equal in the settings `by` are equal in this one."""
    return len(set(zip(*by, texts, strict=True))) == len(set(zip(*by, strict=True)))


def _is_as_in_the_catalogue(heading: str, run: Run, text: str | None) -> bool:
    """True unless a setting was changed from that of the catalogue's experiment."""
    experiment = run.config.experiment
    known = EXPERIMENTS.get(experiment.name)
    if known is None or text is None:
        return True
    changes = Settings() if heading == "optimizer" else Settings(optimizer=experiment.optimizer.name)
    expected = of_experiment(with_settings(known, changes))
    return heading not in expected or show(expected[heading]) == text


def _rank(heading: str, value: Any) -> tuple[int, float, str]:
    """Numbers by size, experiments as in the catalogue, torch before jax, other texts by number and alphabet."""
    if isinstance(value, int | float):
        return 1, value, ""
    if heading == "experiment":
        names = list(EXPERIMENTS)
        return 2, names.index(value) if value in names else len(names), ""
    if heading == "backend":
        return 2, value == "jax", value
    leading = re.match(r"\d{1,15}", text := show(value))
    return (0, 0, "") if value is None else (2, int(leading[0]) if leading else 0, text)


Differing = list[dict[str, str]]  # by run


def _usual(differing: Differing) -> dict[str, str]:
    """The value of each setting that more than half of the runs have."""
    counts = Counter(item for told in differing for item in told.items())
    return {name: text for (name, text), count in counts.items() if 2 * count > len(differing)}


def _versions(runs: Sequence[Run], differing: Differing) -> Differing:
    """Add the versions that differ between runs of equal settings."""
    found = list(differing)
    for places in _alike(differing):
        versions = [runs[place].config.versions for place in places]
        for name in dict.fromkeys(name for each in versions for name in each if name not in NOT_VERSIONS):
            if _differs(each.get(name) for each in versions):
                for place, each in zip(places, versions, strict=True):
                    found[place] = found[place] | {VERSIONS.get(name, name): show(each.get(name))}
    return found


def _folders(runs: Sequence[Run], differing: Differing) -> Differing:
    """Add the folder of each run that nothing else tells apart: as much of the end of its path as it takes."""
    found = list(differing)
    for places in _alike(differing):
        ends = _ends([runs[place].folder.resolve() for place in places])
        for place, end in zip(places, ends, strict=True):
            found[place] = differing[place] | {"folder": printable(end)}
    return found


def _ends(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of different paths that differ, all of one length."""
    longest = max(len(path.parts) for path in paths)
    candidates = ([str(Path(*path.parts[-length:])) for path in paths] for length in range(1, longest + 1))
    return next(ends for ends in candidates if len(set(ends)) == len(paths))


def _alike(differing: Differing) -> list[list[int]]:
    """The places of runs that nothing tells apart, in groups; a run without any setting is one, too."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, told in enumerate(differing):
        groups.setdefault(tuple(told.values()), []).append(place)
    return [places for told, places in groups.items() if len(places) > 1 or not told]
