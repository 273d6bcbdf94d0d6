"""`isograd scaling`: the scaling law of runs of several sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands.options import command_line
from experiments.progress.display import Progress, make_progress, print_json
from experiments.reports.runs import Run, expand_runs, read_run
from experiments.reports.scaling_figures import write_scaling
from experiments.studies import scaling_law
from experiments.studies.scaling_law import BACKWARD, Curve, Profile, forward_flops, parameters
from experiments.training.folder import check_folder, check_replaceable
from experiments.training.launch import prepared_from
from experiments.training.plan import steps_of_an_epoch
from shared.errors import IsogradError

TWIN = "DecoderOnlyTranslator"


def scaling_command(
    runs: tuple[Path, ...],
    /,
    *,
    budgets: tuple[float, ...] | None = None,
    flops: float = scaling_law.FAR,
    draws: int = 2000,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Fit the best size at each budget of compute, the line through the best sizes, and extrapolate it.

    Args:
        runs: Run folders of decoder-only translators of several widths, one of each.
        budgets: FLOPs of training at which sizes are compared; if omitted, six that every run went through.
        flops: The budget to extrapolate to.
        draws: Of the residuals, for the intervals.
        seed: Of the draws.
        out: Folder for the figures and the fits as JSON.
        json: Print JSON.
    """
    typed = command_line("scaling", scaling_command, dict(locals()))
    if draws < 1:
        raise IsogradError(f"--draws: expected at least 1, got {draws}")
    if not (np.isfinite(flops) and flops > 0):
        raise IsogradError(f"--flops: expected a positive budget, got {flops}")
    if out is not None:
        check_folder(out)
        check_replaceable(out)
    with make_progress(quiet=json) as progress:
        read = [read_run(folder) for folder in expand_runs(runs)]
        curves = [_curve(run, progress) for run in read]
    scaling_law.check_curves(curves)
    chosen = scaling_law.budgets_of(curves) if budgets is None else scaling_law.check_budgets(budgets, curves)
    profiles = [scaling_law.profile(curves, budget) for budget in chosen]
    line = scaling_law.fit_line(profiles)
    far, slopes = scaling_law.extrapolate(profiles, flops, draws, seed)
    found = {"command": typed, "runs": _as_rows(read, curves), **scaling_law.summary(profiles, line, far, slopes)}
    if out is not None:
        write_scaling(out, profiles, line, far, found)
    if json:
        print_json(found)
    else:
        print(_as_text(profiles, line, far, found["slope_interval"]))


def _curve(run: Run, progress: Progress) -> Curve:
    """The losses of a run's validations over the FLOPs of its training, by the formula, at the words' own lengths."""
    experiment = run.config.experiment
    if experiment.model.twin != TWIN:
        raise IsogradError(f"{run.folder} trained a {experiment.model.twin}: expected runs of {TWIN}, as scaling-h16")
    prepared = prepared_from(run.config, run.folder, progress)
    pairs = prepared.data.splits["train"]  # type: ignore[attr-defined]
    lengths = np.array([len(source) + len(target) + 2 for source, target in pairs], np.float64)
    h, layers = experiment.model.arguments["hidden_size"], experiment.model.arguments["num_layers"]
    of_epoch = BACKWARD * float(forward_flops(h, lengths, layers).sum())
    records = [record for record in run.validation if record["step"] > 0]
    epochs = np.array([record["step"] for record in records]) / steps_of_an_epoch(prepared)
    return Curve(float(parameters(h, layers)), epochs * of_epoch, np.array([record["loss"] for record in records]))


def _as_rows(runs: Sequence[Run], curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """What trains each run again, and what it came to."""
    return [
        {
            "command": f"isograd train {run.experiment} --backend {run.config.backend} --steps {run.train[-1]['step']}",
            "data": run.config.data_fingerprint,
            "parameters": curve.parameters,
            "flops": float(curve.flops[-1]),
            "best_loss": float(curve.losses.min()),
        }
        for run, curve in zip(runs, curves, strict=True)
    ]


def _as_text(
    profiles: Sequence[Profile], line: scaling_law.Line, far: scaling_law.Extrapolated, slopes: Sequence[float]
) -> str:
    rows = [
        f"{each.budget:.2e} FLOPs: best {each.best:,.0f} parameters"
        + ("" if each.is_inside else ", outside of the sizes that were trained")
        for each in profiles
    ]
    return "\n".join(
        [
            *rows,
            f"log10 N = ({line.slope:.3f} +- {line.slope_error:.3f}) log10 C + ({line.intercept:.2f} +- "
            f"{line.intercept_error:.2f}); slope by the draws {slopes[0]:.3f} to {slopes[1]:.3f}",
            f"extrapolated: {far}; published: {scaling_law.PUBLISHED:.0e}",
            *([f"{far.refused} draws without a lowest point are left out"] if far.refused else []),
        ]
    )
