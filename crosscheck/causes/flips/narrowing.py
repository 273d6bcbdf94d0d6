"""Applies a flip only where the two sides diverge, then where they diverge next: one layer of many may differ."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from crosscheck.causes.flips.flip import OWN, Site
from crosscheck.report import Report
from shared.errors import IsogradError

MOST_SITES = 32  # every site costs a run


def narrowed(flipped: Any, report: Report) -> tuple[str, Report, list[Site]]:
    """The sites in words, the last report, and the sites: while the flip makes the first differing tensor agree, it is
    applied at the next place too. `flipped` has already been applied everywhere, which counted its calls."""
    sites: list[Site] = []
    while (found := _next(flipped, sites, report)) is not None and len(sites) < MOST_SITES:
        site, report = found
        sites.append(site)
    return ", ".join(in_words(site, report.name) for site in sites), report, sites


def _next(flipped: Any, sites: Sequence[Site], report: Report) -> tuple[Site, Report] | None:
    """The first site that makes the tensor agree, else the one after which the two sides diverge latest."""
    later: list[tuple[int, Site, Report]] = []
    for site in _closest(flipped, sites, report) if report.first_row else ():
        if site not in sites:
            with contextlib.suppress(IsogradError):
                new = replace(flipped, where=(*sites, site), calls=Counter()).compared()
                if new.agrees or _agrees_now(report, new):
                    return site, new
                later.append((_steps_later(report, new), site, new))
    steps, *found = max(later, key=lambda each: each[0], default=(0,))
    return (found[0], found[1]) if steps > 0 else None


def _closest(flipped: Any, sites: Sequence[Site], report: Report) -> list[Site]:
    """The sites at which the flip applies, those first that leave the least error."""
    errors: dict[Site, float] = {}
    for site in sites_at(flipped, report):
        with contextlib.suppress(IsogradError):
            errors[site] = replace(flipped, where=(*sites, site), calls=Counter()).error_of(report.first_row)
    return sorted(errors, key=errors.__getitem__)


def sites_at(flipped: Any, report: Report) -> list[Site]:
    """The module where the two sides diverge, and each call inside that can be flipped on its own."""
    path = report.first_divergence.module[len(report.name) + 1 :] if report.first_divergence else ""
    whole: list[Site] = [(path, None)] if path else []
    if flipped.flip.inputs is not None:
        return []
    if not flipped.flip.functions:
        return whole
    own, number = (flipped.calls[place] for place in (f"{OWN}{path}", path))
    singles = [(f"{OWN}{path}", n) for n in range(min(own, MOST_SITES))] if number > 1 else []
    inside = [(path, n) for n in range(number)] if 1 < number <= MOST_SITES and own < number else []
    return [*(whole if number else []), *singles, *inside]


def _agrees_now(before: Report, after: Report) -> bool:
    """True if the tensor where the two sides first diverged now agrees."""
    first = before.first_row
    return first is not None and any(
        (row.kind, row.tensor) == (first.kind, first.tensor) and row.agrees for row in after.rows
    )


def _steps_later(before: Report, after: Report) -> int:
    """How many forward tensors later the two sides diverge: an unequal tensor may be settled, such as a mask whose
    reader inverts it."""
    rows = [(row.kind, row.tensor) for row in after.rows if row.phase == "forward"]
    first, now = ((row.kind, row.tensor) if row else None for row in (before.first_row, after.first_row))
    return rows.index(now) - rows.index(first) if first in rows and now in rows else 0


def in_words(site: Site, root: str) -> str:
    path, number = site[0].removeprefix(OWN), site[1]
    place = f"{root}.{path}" if path else root
    return place if number is None else f"{place} (call {number + 1})"
