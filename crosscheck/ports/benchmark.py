"""Compares the ports, correct and with every mistake that fits, and writes the table: `make ports`.

A line is kept as soon as it is known, in a file beside the table's: a run that was stopped goes on from there.
"""

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from crosscheck.compare import compare
from crosscheck.explain import explain
from crosscheck.ports.mistakes import MISTAKES, Mistake
from crosscheck.ports.model import Model, arguments, build, flax_source
from crosscheck.ports.models import MODELS, ROWS
from shared.errors import IsogradError

CORRECT = "-"
HEADINGS = ("port", "mistake", "verdict", "first at", "located", "named", "seconds", "rules")
YES_NO = {True: "yes", False: "no", None: ""}


@dataclass(frozen=True)
class Line:
    """One pair's line of the table; `located` and `named` are None for a correct pair: there is nothing to find.

    `seconds` are the processor's, so that they do not depend on what else the machine does.
    """

    port: str
    mistake: str
    verdict: str
    first: str
    located: bool | None
    named: bool | None
    name: str
    seconds: float
    rules: int

    def __str__(self) -> str:
        named = f"{YES_NO[self.named]} {f'({self.name})' if self.name else ''}".strip()
        cells = (self.port, self.mistake, self.verdict, self.first, YES_NO[self.located], named)
        return f"| {' | '.join(cells)} | {self.seconds:.1f} | {self.rules} |"


def line_of(name: str, mistake: str, budget: float) -> Line | None:
    """The line of one model, correct or with a mistake, by their names; None if the mistake does not fit it."""
    _set_up()
    model = MODELS[name]
    if mistake == CORRECT:
        return _correct(model)
    config = build(model, {}, {}).torch.config
    return _wrong(model, MISTAKES[mistake], config, budget) if MISTAKES[mistake].fits(model, config) else None


def _set_up() -> None:
    """float64, one thread, no warnings; raises IsogradError if transformers has no Flax models."""
    import torch

    torch.set_num_threads(1)
    import jax
    import transformers

    if not hasattr(transformers, "FlaxBertModel"):
        raise IsogradError(f"transformers {transformers.__version__} has no Flax models: run `make ports`")
    jax.config.update("jax_enable_x64", True)
    transformers.logging.set_verbosity_error()


def _correct(model: Model) -> Line:
    pair, start = build(model, {}, {}), time.process_time()
    report = compare(pair.torch, pair.jax, pair.inputs, **pair.options)
    return _line(model, CORRECT, report, time.process_time() - start)


def _wrong(model: Model, mistake: Mistake, config: Any, budget: float) -> Line:
    key = mistake.key(config)
    changed = {key: mistake.config[1](getattr(config, key))} if mistake.config else {}
    given = {name: change(arguments()[name]) for name, change in mistake.arguments.items()}
    with _patched(model, mistake):
        pair, start = build(model, changed, given), time.process_time()
        found = explain(pair.torch, pair.jax, pair.inputs, budget=budget, **pair.options)
    ids = [each.divergence.id for each in (found, *found.more) if each.divergence]
    return _line(model, mistake.name, found.report, time.process_time() - start, mistake, ids)


def _patched(model: Model, mistake: Mistake) -> Any:
    """The mistake's function in the Flax file, while the context is open."""
    if mistake.function is None:
        return nullcontext()
    name, wrong = mistake.function
    return mock.patch.object(flax_source(model), name, wrong(getattr(flax_source(model), name)))


def _line(
    model: Model, name: str, report: Any, seconds: float, mistake: Mistake | None = None, ids: list[str] | None = None
) -> Line:
    first = report.first_divergence
    place = first.module.partition(".")[2] if first else ""
    located = _is_right(place, mistake) if mistake else None
    named = bool(ids) and ids[0] in mistake.ids if mistake else None
    verdict = "agrees" if report.agrees else "differs"
    return Line(model.name, name, verdict, place, located, named, " ".join(ids or []), seconds, len(model.rules))


def _is_right(place: str, mistake: Mistake) -> bool:
    """True for a path with one of the mistake's words; a wrong argument is the caller's, too."""
    return any(word in place.lower() for word in mistake.places) or (bool(mistake.arguments) and not place)


def summary(found: list[Line]) -> list[str]:
    """The counts, as sentences."""
    right = [line for line in found if line.mistake == CORRECT and not MODELS[line.port].bug]
    wrong = [line for line in found if line.mistake != CORRECT]
    caught = [line for line in wrong if line.verdict == "differs"]
    misnamed = sum(bool(line.name) and not line.named for line in wrong)
    return [
        f"{sum(line.verdict == 'agrees' for line in right)} of {len(right)} correct ports agree. "
        f"{len(caught)} of {len(wrong)} planted mistakes are caught, {sum(bool(line.located) for line in caught)} "
        f"located, {sum(bool(line.named) for line in caught)} named, {misnamed} named wrongly.",
    ]


def table(found: list[Line], budget: float) -> str:
    """The result file."""
    head = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "jax", "flax"))
    command = [
        f"Written by `make ports BUDGET={budget:g}` with {versions}:",
        "Flax models of transformers 4.57.6 against their torch twins.",
    ]
    return "\n".join(["# Public ports", "", *command, "", *summary(found), "", *head, *map(str, found), ""])


def main(words: list[str]) -> None:
    """`python -m crosscheck.ports.benchmark FILE SECONDS JOBS [MODEL...]`: writes the table, line by line.

    Raises IsogradError if transformers has no Flax models, or for an unknown model.
    """
    file, budget, jobs, *names = words
    unknown = sorted(set(names) - set(MODELS))
    if unknown:
        raise IsogradError(f"unknown ports {', '.join(unknown)}: known are {', '.join(MODELS)}")
    pairs = list(product(names or [model.name for model in ROWS], (CORRECT, *MISTAKES)))
    kept = Path(f"{file}.part")
    known = kept_lines(kept)
    with ProcessPoolExecutor(int(jobs), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(line_of, *pair, float(budget)): pair for pair in pairs if pair not in known}
        for done in as_completed(running):
            known[running[done]] = line = done.result()
            with kept.open("a") as lines:
                lines.write(json.dumps([*running[done], line and asdict(line)]) + "\n")
            if line is not None:
                print(line, flush=True)
    found = [line for pair in pairs if (line := known[pair]) is not None]
    Path(file).write_text(table(found, float(budget)))
    kept.unlink(missing_ok=True)


def kept_lines(file: Path) -> dict[tuple[str, str], Line | None]:
    """The lines that a stopped run left, by port and mistake; None where the mistake does not fit the port."""
    lines = file.read_text().splitlines() if file.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("]")]
    return {(port, mistake): Line(**found) if found else None for port, mistake, found in whole}


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except IsogradError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
