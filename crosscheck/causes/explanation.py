"""What is said of a gap: the row of the catalogue that explains it, and by which evidence."""

from dataclasses import dataclass, field
from typing import Any

from crosscheck.causes.flips.search import Cause
from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.judging.rows import nonfinite_as_text
from crosscheck.report import Report


@dataclass(frozen=True)
class Explanation:
    """The gap, the catalogue row that explains it (None if none does), what was flipped, and how many flips were tried.

    `is_closed` is False if the flip only matches the size of the gap: it can't close when each side loses other digits.
    `more` are further causes, each of what those before it leave; `left` is what this one leaves. `fix` are the changes
    of the two sides with this pair's values, where the catalogue's are another case's. `noted` says what else is known.
    `causes` are what flips show.
    """

    report: Report
    divergence: KnownDivergence | None
    flipped: str = ""
    tried: int = 0
    is_closed: bool = True
    more: tuple["Explanation", ...] = ()
    left: str = ""
    fix: tuple[str, str] | None = None
    noted: str = ""
    causes: tuple[Cause, ...] = field(default=(), repr=False, compare=False)

    @property
    def evidence(self) -> str:
        """The evidence for the row, in words."""
        if not self.is_closed:
            return self.flipped
        return f"{self.flipped}, and the gap is gone" if not self.left else f"{self.flipped}; {self.left}"

    @property
    def cures(self) -> tuple[str, str]:
        """How to change the JAX side, and how the torch side."""
        found = self.divergence
        return self.fix or ((found.to_torch, found.to_jax) if found else ("", ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the divergence's row, what was flipped, and where the two sides diverge."""
        row = self.divergence.to_dict() if self.divergence else None
        found = {"divergence": row, "flipped": self.flipped or None, "tried": self.tried}
        if self.more or self.left or self.noted:
            found |= {"more": [f"{each.name}: {each.flipped}" for each in self.more]}
            found |= {"left": self.left, "noted": self.noted}
        report = {name: value for name, value in self.report.to_dict().items() if name != "rows"}
        return nonfinite_as_text({**found, "report": report})

    def __str__(self) -> str:
        if self.report.agrees:
            return f"{self.report.title}: agrees, there is nothing to explain"
        lines = [str(self.report).partition("\n")[0]]
        lines += [f"  {self.noted}"] if self.noted else []
        if self.divergence is None:
            tried = f"  no known divergence explains it: {self.tried} flips tried"
            return "\n".join([*lines, *([tried] if self.tried or not self.noted else [])])
        for each in (self, *self.more):
            lines += each.lines
        return "\n".join(lines)

    @property
    def name(self) -> str:
        """The catalogue row's id and name."""
        return f"{self.divergence.id} {self.divergence.name}" if self.divergence else ""

    @property
    def lines(self) -> list[str]:
        """This cause alone, in lines."""
        found, (to_torch, to_jax) = self.divergence, self.cures
        if found is None:
            return []
        return [
            f"  {self.name} explains it: {self.evidence}",
            f"  when: {found.trigger}",
            f"  source: {found.source}",
            f"  change the JAX side: {to_torch}",
            f"  or the torch side: {to_jax}",
        ]
