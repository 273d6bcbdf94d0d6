"""`isograd train`: one experiment with one backend or both, from scratch or resumed."""

from dataclasses import replace
from pathlib import Path

from experiments.commands.side_by_side import check_both_installed, train_both
from experiments.progress.display import Progress, make_progress
from experiments.training import launch
from experiments.training.run_config import read_config
from experiments.training.settings import Settings, flag
from experiments.training.threads import choose_threads
from shared.backend import PACKAGES
from shared.configs.validation import check_choice
from shared.errors import IsogradError

BACKENDS = (*PACKAGES, "both")
OF_A_RESUMED_RUN = ("backend", "device", "steps", "patience")  # what may change; everything else keeps its setting
NO_SETTINGS = Settings()


def train(
    experiment: str | None = None,
    /,
    settings: Settings = NO_SETTINGS,
    *,
    certify: bool = False,
    out: Path | None = None,
    stop_at: int | None = None,
    resume: Path | None = None,
    quiet: bool = False,
    json: bool = False,
) -> int | None:
    """Train an experiment of the catalogue, or resume a run.

    On a CPU, PyTorch uses one thread for models narrower than 128; OMP_NUM_THREADS overrides this.

    Args:
        experiment: A name from the catalogue (`isograd list experiments`).
        settings: Changes to the experiment.
        certify: With `--backend both`: run in lockstep, compare everything after every step, name where they diverge.
        out: The run folder; if omitted, runs/EXPERIMENT-BACKEND.
        stop_at: Save and stop after this step; `--resume` continues, in either framework.
        resume: Resume the run in this folder, with either backend.
        quiet: Show nothing until the end.
        json: Print every record as a JSON line.
    """
    if settings.backend is not None:
        check_choice("backend", settings.backend, BACKENDS)
    _check_together(certify, resume, stop_at)
    with make_progress(quiet=quiet, json_lines=json) as progress:
        if resume is not None:
            _resume(resume, experiment, settings, out, progress, stop_at)
        elif experiment is None:
            raise IsogradError("expected the name of an experiment, got none: `isograd list experiments` shows them")
        elif certify:
            choose_threads(launch.find_experiment(experiment))
            return _certify(experiment, settings, out, progress, json=json)
        elif settings.backend == "both":
            alone = {**replace(settings, backend=None).given, **({} if stop_at is None else {"stop_at": stop_at})}
            train_both(experiment, _folder(experiment, "both", out), alone, quiet=quiet, json=json)
        else:
            folder = _folder(experiment, settings.place.backend, out)
            choose_threads(launch.find_experiment(experiment))
            launch.start(experiment, settings, folder, progress, stop_at=stop_at)
            _tell(folder, progress)
    return None


def _folder(experiment: str, kind: str, out: Path | None) -> Path:
    launch.find_experiment(experiment)  # an unknown name must not become a folder
    return out or Path("runs") / f"{experiment}-{kind}"


def _check_together(certify: bool, resume: Path | None, stop_at: int | None) -> None:
    if certify and (resume is not None or stop_at is not None):
        raise IsogradError("--certify runs from start to finish: leave out --resume and --stop-at")
    if stop_at is not None and stop_at < 0:
        raise IsogradError(f"--stop-at: expected a step of at least 0, got {stop_at}")


def _certify(experiment: str, settings: Settings, out: Path | None, progress: Progress, *, json: bool) -> int:
    """Exit code 1 if the runs diverge."""
    from experiments.training.certificate import certify, describe

    if settings.backend != "both":
        got = settings.backend or "none"
        raise IsogradError(f"--certify compares the two backends: expected --backend both, got {got}")
    check_both_installed()
    folder = _folder(experiment, "certificate", out)
    certificate = certify(experiment, replace(settings, backend=None), folder, progress)
    progress.close()
    if json:
        progress.record({"kind": "certificate", **certificate})
    else:
        print("\n".join([*describe(certificate), f"wrote {folder}"]))
    if certificate["stopped"]:
        raise KeyboardInterrupt(f"stopped: the certificate is one of {certificate['steps']} steps")
    return 0 if certificate["certified"] else 1


def _tell(folder: Path, progress: Progress) -> None:
    progress.note(f"the run is in {folder}: plot it with `isograd report {folder}`")


def _resume(
    folder: Path,
    experiment: str | None,
    settings: Settings,
    out: Path | None,
    progress: Progress,
    stop_at: int | None,
) -> None:
    given = settings.given | ({} if out is None else {"out": out})
    fixed = [flag(name) for name in given if name not in OF_A_RESUMED_RUN]
    fixed += ["--backend both"] if settings.backend == "both" else []
    config = read_config(folder)
    name = config.experiment.name
    if experiment not in (None, name):
        raise IsogradError(f"{folder} is a run of {name}, not of {experiment}: leave the experiment out")
    if fixed:
        raise IsogradError(f"a resumed run keeps its settings: remove {', '.join(fixed)}")
    changes = {name: getattr(settings, name) for name in OF_A_RESUMED_RUN}
    choose_threads(config.experiment)
    launch.resume(folder, progress, stop_at=stop_at, **changes)
    _tell(folder, progress)
