"""Figures of a scaling law: the losses of every size at each budget, and the best sizes over compute."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports.drawing import draw, logarithmic
from shared.checkpoint import write_json

POINTS = 100
LIMITS = 1e2, 1e14  # parameters; an interval may reach beyond


def write_scaling(folder: Path, profiles: Sequence[Any], line: Any, far: Any, found: Mapping[str, Any]) -> None:
    """Write isoflop.svg and .png, best_sizes.svg and .png, and scaling.json."""
    fitted = profiles, line, far, found["extrapolation"]["published_parameters"]
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [
        draw("isoflop", "Losses over parameters, at equal compute.", lambda panels: _isoflop(panels[0], profiles)),
        draw("best_sizes", "The best size over compute.", lambda panels: _best(panels[0], *fitted)),
    ]
    for figure in drawn:
        figure.write(folder)
    write_json(folder / "scaling.json", found)


def _isoflop(panel: Any, profiles: Sequence[Any]) -> None:
    for place, each in enumerate(profiles):
        colour = f"C{place}"
        dense = np.geomspace(each.parameters.min(), each.parameters.max(), POINTS)
        panel.plot(dense, np.polyval(each.coefficients, np.log10(dense)), color=colour)
        panel.plot(each.parameters, each.losses, "o", color=colour, label=f"{each.budget:.1e} FLOPs")
        panel.plot(each.best, np.polyval(each.coefficients, np.log10(each.best)), "k+")
    logarithmic(panel, "x")
    panel.set_xlabel("parameters")
    panel.set_ylabel("validation loss")
    panel.legend()


def _best(panel: Any, profiles: Sequence[Any], line: Any, far: Any, published: float) -> None:
    budgets = [each.budget for each in profiles]
    reach = np.geomspace(min(*budgets, far.flops), max(*budgets, far.flops), POINTS)
    inside = np.geomspace(min(budgets), max(budgets), POINTS)
    panel.plot(reach, [line.at(each) for each in reach], "--", color="C1", label="extrapolated")
    panel.plot(inside, [line.at(each) for each in inside], color="C0", label="fitted")
    panel.plot(budgets, [each.best for each in profiles], "o", color="C0")
    panel.vlines(far.flops, far.low, far.high, color="C1", label=f"interval at {far.flops:.0e} FLOPs")
    panel.plot(far.flops, published, "k+", label="published")
    logarithmic(panel, "x")
    logarithmic(panel, "y")
    panel.set_ylim(*LIMITS)
    panel.set_xlabel("training FLOPs")
    panel.set_ylabel("best parameters")
    panel.legend()
