"""How the time of a GRU layer grows with its batch, its steps and its state: a figure of the rows of `bench gru`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from experiments.bench.gru import BASE, CENTRE, OURS, VARIED, Layer
from experiments.bench.timing import Row
from experiments.reports.drawing import Drawn, draw, logarithmic

AXES = {"batch_size": "batch size", "steps": "steps", "hidden_size": "hidden size"}
HEIGHT = 8.4  # inches
CAPTION = "Milliseconds of a GRU layer, forward and backward; of {centre} one size varies in each panel."


def gru_figure(rows: Sequence[Row]) -> Drawn | None:
    """gru.svg, or None where no curve was measured."""
    if not any(_on_a_curve(row, name) for row in rows for name in VARIED):
        return None
    return draw("gru", CAPTION.format(centre=CENTRE), partial(_plot, rows), rows=len(VARIED), height=HEIGHT)


def _plot(rows: Sequence[Row], panels: Sequence[Any]) -> None:
    for panel, name in zip(panels, VARIED, strict=True):
        _panel(panel, name, rows)


def _panel(panel: Any, name: str, rows: Sequence[Row]) -> None:
    for side in (*OURS, BASE["cuda"]):
        found = [row for row in rows if row["side"] == side and _on_a_curve(row, name)]
        points = sorted((row[name], row["milliseconds"]) for row in found)
        panel.plot(*zip(*points, strict=True), "o-", label=side)
    for axis in "xy":
        logarithmic(panel, axis)
    panel.set_xlabel(AXES[name])
    panel.set_ylabel("milliseconds")
    panel.legend()


def _on_a_curve(row: Row, name: str) -> bool:
    """Whether the row's layer is the centre but for the size that varies."""
    layer = Layer(*(row[field] for field in Layer._fields))
    return row["way"] == "both" and layer._replace(**{name: getattr(CENTRE, name)}) == CENTRE
