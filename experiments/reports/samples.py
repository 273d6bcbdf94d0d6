"""The texts that language models wrote at their evaluations, for the report."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.reports.runs import Run


class Samples(NamedTuple):
    """What one run wrote: at each step the texts, each split into its prompt and what follows."""

    label: str
    steps: list[tuple[int, list[tuple[str, str]]]]

    @property
    def last(self) -> tuple[int, list[tuple[str, str]]]:
        return self.steps[-1]


def samples_of(runs: Sequence[Run]) -> list[Samples]:
    """Of each run that wrote any."""
    return [
        Samples(run.label, [(record["step"], list(map(_parts, record["texts"]))) for record in run.samples])
        for run in runs
        if run.samples
    ]


def _parts(written: dict[str, str]) -> tuple[str, str]:
    prompt, text = written["prompt"], written["text"]
    return (prompt, text.removeprefix(prompt))
