"""The lockstep certificate of an experiment: both backends on the same batches, compared after every step.

Folder: lockstep.jsonl (one line per step) and certificate.json (the largest differences, and where the runs diverge).
"""

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.progress.display import Progress, Record, nonfinite_as_none
from experiments.training.folder import check_folder, check_unused, locked
from experiments.training.launch import backend_for, prepared_for, resolve
from experiments.training.plan import rate_by_step, total_steps, training_batches
from experiments.training.preparation import Prepared
from experiments.training.settings import Place, Settings, typed
from shared.atomic import new_file, remove_leftovers
from shared.backend import PACKAGES, Batch
from shared.checkpoint import write_json
from shared.errors import IsogradError
from shared.pretrained.initial import initial_arrays

CERTIFICATE, LINES = "certificate.json", "lockstep.jsonl"
SHOWN = {1, 2, 5}  # steps whose differences the certificate keeps: these times powers of ten, and the last


def certify(name: str, settings: Settings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run both backends in lockstep and write the certificate; stops at the step after which the runs have diverged,
    and at Ctrl-C, which "stopped" tells.

    Raises IsogradError for whatever `launch.start` rejects.
    """
    experiment = resolve(name, settings)
    progress.note(f"loading {' and '.join(PACKAGES)}")
    _check_certifiable(settings)
    check_unused(folder)
    check_folder(folder)
    prepared = prepared_for(experiment, settings, progress)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_unused(folder)
        remove_leftovers(folder)
        certificate = _in_lockstep(settings, prepared, folder, progress)
        write_json(folder / CERTIFICATE, nonfinite_as_none(certificate))
    return certificate


def _check_certifiable(settings: Settings) -> None:
    """Raise for runs that are not expected to be equal."""
    from crosscheck.runs.lockstep import BOUNDS

    dtype = settings.place.dtype
    if dtype not in BOUNDS:
        raise IsogradError(
            f"--certify: expected --dtype {' or '.join(BOUNDS)}, got {dtype}, whose rounding makes two runs "
            f"diverge: compare them with --backend both without --certify"
        )
    if settings.dropout_rng == "native":
        raise IsogradError("--certify needs equal dropout masks: leave out --dropout-rng native")


def _in_lockstep(settings: Settings, prepared: Prepared, folder: Path, progress: Progress) -> dict[str, Any]:
    from crosscheck.runs.diagnosis import Recipe, find_cause
    from crosscheck.runs.lockstep import lockstep

    experiment, total = prepared.experiment, total_steps(prepared)
    recipe = Recipe(experiment.model, experiment.optimizer, experiment.training, prepared.task.loss, experiment.seed)
    _, dtype, device = settings.place
    sides = [backend_for(experiment, name, dtype, device) for name in ("torch", "jax")]
    steps, parting, stopped, started = [], None, False, time.perf_counter()
    progress.start(f"{experiment.title}, both, {dtype}", 0, total)
    course, initial = _course(prepared, total), initial_arrays(experiment)
    with new_file(folder / LINES) as temporary, temporary.open("w", encoding="utf-8") as file:
        try:
            for step, start in lockstep(*sides, course, _judge(recipe, dtype), initial):
                steps.append(step)
                file.write(json.dumps(nonfinite_as_none(asdict(step)), allow_nan=False) + "\n")
                progress.advance(step.step)
                progress.record(_record(step))
                if place := step.beyond:
                    parting = _parting(step.step, place, *find_cause(recipe, start))
                    break
        except KeyboardInterrupt:
            stopped = True
            if not steps or steps[-1].beyond:  # nothing to certify, or its cause is not known yet
                raise
    return {
        "experiment": asdict(experiment),
        "command": _command(experiment.name, settings),
        "dtype": dtype,
        "device": device,
        "versions": {key: text for side in sides for key, text in side.describe().items() if key != "backend"},
        "steps": len(steps),
        "certified": parting is None,
        "stopped": stopped,
        "parting": parting,
        "one_step": _nearest(steps),
        "largest": _largest(steps),
        "seconds": round(time.perf_counter() - started, 1),
        "growth": [asdict(step) for step in steps if _is_shown(step.step) or step is steps[-1]],
    }


def _judge(recipe: Any, dtype: str) -> Any:
    from crosscheck.runs.one_step import prove
    from crosscheck.runs.step_noise import NoiseRule, float64

    if dtype == "float64":
        return prove
    with float64():
        return NoiseRule([recipe.backend(name) for name in ("torch", "jax")], dtype)


def _record(step: Any) -> Record:
    """The record of a step for the progress display."""
    nearest, judged = max(step.judged.items(), key=lambda item: item[1].part)
    where, difference = max(step.differences.items(), key=lambda item: item[1])
    of_bound = {"part": judged.part, "nearest": nearest}
    return {
        "kind": "lockstep",
        "step": step.step,
        "loss": step.loss,
        **of_bound,
        "difference": difference,
        "where": where,
    }


def _course(prepared: Prepared, total: int) -> Iterator[tuple[Batch, float]]:
    rate = rate_by_step(prepared)
    return ((batch, rate(step)) for step, batch in enumerate(training_batches(prepared, 0, total)))


def _parting(step: int, place: tuple[str, str], cause: Any, sentence: str) -> dict[str, Any]:
    group, tensor = place
    found = None if cause is None else {"module": cause.module, "phase": cause.phase, "tensor": cause.tensor}
    return {"step": step, "group": group, "tensor": tensor, "cause": found, "sentence": sentence}


def _nearest(steps: list[Any]) -> dict[str, dict[str, Any]]:
    """For each quantity of the steps from one state, the error that is largest against its bound."""
    found = {}
    for quantity in steps[0].judged:
        worst = max((step for step in steps if quantity in step.judged), key=lambda step: step.judged[quantity].part)
        judged = worst.judged[quantity]
        found[quantity] = {**asdict(judged), "part": judged.part, "step": worst.step}
    return found


def _largest(steps: list[Any]) -> dict[str, dict[str, Any]]:
    """For the loss and each group, the largest drift of the run, its step and its tensor."""
    found = {}
    for group in steps[0].differences:
        worst = max(steps, key=lambda step: step.differences[group])
        found[group] = {"difference": worst.differences[group], "step": worst.step, "tensor": worst.worst.get(group)}
    return found


def _is_shown(number: int) -> bool:
    digits = str(number)
    return int(digits[0]) in SHOWN and set(digits[1:]) <= {"0"}


def _command(experiment: str, settings: Settings) -> str:
    defaults = Place()._asdict()
    given = {name: value for name, value in settings.given.items() if value != defaults.get(name)}
    return shlex.join(["isograd", "train", experiment, "--backend", "both", "--certify", *typed(given)])


def describe(certificate: dict[str, Any]) -> list[str]:
    """A verdict, for each quantity the error nearest to its bound, and how far the two runs have drifted apart."""
    parting, steps = certificate["parting"], certificate["steps"]
    title = f"{certificate['experiment']['name']}, {certificate['dtype']}, {certificate['device']}"
    if parting is None:
        lines = [f"{title}: torch and jax agree over {steps:,} steps, each made from one state"]
    else:
        group, tensor = parting["group"], parting["tensor"]
        where = f"the {group}" if group == tensor else f"{group} {tensor}"
        lines = [f"{title}: torch and jax diverge at step {parting['step']} in {where}; {parting['sentence']}"]
    lines.append("one step from one state: the largest error against its bound")
    for quantity, near in certificate["one_step"].items():
        of = f"{near['error']:8.1e} of {near['bound']:.1e}"
        lines.append(f"  {quantity:13} {of} at step {near['step']}{_tensor(quantity, near['tensor'])}")
    lines.append("drift of the two runs: the largest difference")
    for group, worst in certificate["largest"].items():
        lines.append(
            f"  {group:13} {worst['difference']:8.1e} at step {worst['step']}{_tensor(group, worst['tensor'])}"
        )
    return lines


def _tensor(quantity: str, tensor: str | None) -> str:
    return f"  {tensor}" if tensor not in (None, quantity) else ""
