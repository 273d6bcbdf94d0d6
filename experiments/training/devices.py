"""The first steps of an experiment on the CPU and on another device: equal batches, losses and times side by side."""

import time
from dataclasses import dataclass, replace
from typing import Any

from experiments.progress.display import Progress
from experiments.training.launch import backend_for, prepared_for, resolve
from experiments.training.plan import rate_by_step, total_steps, training_batches
from experiments.training.preparation import Prepared
from experiments.training.settings import Settings, check_settings
from shared.backend import find_backend
from shared.errors import IsogradError
from shared.pretrained.initial import initial_arrays

USUAL_STEPS = 50
SHOWN = 10  # every so many steps


@dataclass(frozen=True)
class OneSide:
    """What one backend did on one device; the seconds leave out the first step, which compiles."""

    backend: str
    device: str
    name: str  # of the device
    losses: list[float]
    seconds: float


def compare_devices(name: str, settings: Settings, sides: tuple[str, ...], progress: Progress) -> dict[str, Any]:
    """The losses of each backend on the CPU and on the device of the settings.

    Raises IsogradError for whatever `launch.start` rejects, and for more steps than the experiment has.
    """
    dtype, devices = settings.place.dtype, ("cpu", settings.device or "cuda")
    check_settings(settings)
    whole = replace(settings, steps=None)
    experiment = resolve(name, whole)
    for side in sides:
        find_backend(side, dtype=dtype, device=devices[1], tell=progress.note)
    prepared = prepared_for(experiment, whole, progress)
    steps, total = settings.steps or USUAL_STEPS, total_steps(prepared)
    if steps > total:
        raise IsogradError(f"--steps: expected at most {total}, the steps of {name}, got {steps}")
    runs = [_run(prepared, side, device, dtype, steps, progress) for side in sides for device in devices]
    return {"experiment": name, "dtype": dtype, "steps": steps, "runs": [vars(run) for run in runs]}


def _run(prepared: Prepared, side: str, device: str, dtype: str, steps: int, progress: Progress) -> OneSide:
    backend = backend_for(prepared.experiment, side, dtype, device)
    state, rate = backend.init_state(initial_arrays(prepared.experiment)), rate_by_step(prepared)
    losses: list[float] = []
    progress.note(f"{prepared.experiment.title}, {side} on {device}: {steps} steps")
    for step, batch in enumerate(training_batches(prepared, 0, steps)):
        state, metrics = backend.train_step(state, batch, rate(step))
        losses.append(float(backend.fetch({"loss": metrics["loss"]})["loss"]))
        if step == 0:
            started = time.perf_counter()
    return OneSide(side, device, backend.describe()["device"], losses, time.perf_counter() - started)


def describe(found: dict[str, Any]) -> list[str]:
    """A table of the losses for each backend, and how fast each device was."""
    lines: list[str] = []
    for cpu, other in zip(found["runs"][::2], found["runs"][1::2], strict=True):
        lines += [f"{found['experiment']}, {cpu['backend']}, {found['dtype']}"]
        lines += [f"{'step':>6}{'cpu':>12}{other['device']:>12}{'difference':>12}"]
        losses = list(enumerate(zip(cpu["losses"], other["losses"], strict=True), start=1))
        lines += [f"{step:6}{a:12.6f}{b:12.6f}{abs(a - b):12.1e}" for step, (a, b) in losses if _is_shown(step)]
        step, largest = max(((step, abs(a - b)) for step, (a, b) in losses), key=lambda row: row[1])
        lines += [f"the largest difference is {largest:.1e}, at step {step}"]
        lines += [_speed(run, found["steps"]) for run in (cpu, other)]
    return lines


def _is_shown(step: int) -> bool:
    return step == 1 or step % SHOWN == 0


def _speed(run: dict[str, Any], steps: int) -> str:
    speed = (steps - 1) / run["seconds"] if steps > 1 else float("nan")
    return f"{run['device']} ({run['name']}): {speed:,.1f} steps a second"
