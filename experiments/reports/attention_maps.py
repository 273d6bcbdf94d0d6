"""Pictures of what each token attends to, in every head of every layer, with the entropies of the heads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.plain_text import printable
from experiments.reports.drawing import STYLE_OF_PAGE, Drawn, drawn
from shared.errors import IsogradError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
MOST_NAMED = 40  # tokens on an axis, at most, whose names are written
OF_TOKEN, LEAST, AROUND = 0.28, 1.4, 0.9  # inches: of a named token, of a panel, and around it


class Seen(NamedTuple):
    """Weights (layers, heads, T, S), and the names of the T tokens that attend and of the S that are attended to."""

    weights: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    row_heading: str
    column_heading: str


def check_picture(path: Path) -> None:
    """Raise IsogradError unless a picture can be written there."""
    if path.suffix not in FORMATS:
        raise IsogradError(f"{path}: expected a file name that ends with {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise IsogradError(f"{path}: the folder {path.parent} does not exist: create it first")


def entropies(weights: np.ndarray) -> np.ndarray:
    """Of each head, (layers, heads): the mean over its T tokens of -sum p ln p, in nats, which is at most ln S."""
    p = weights.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1).mean(-1)


def write_attention(path: Path, seen: Seen) -> None:
    """Write a picture as PNG, SVG or PDF: a panel for each head, darker is more."""
    with _style():
        _figure(seen).savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw_attention(name: str, caption: str, seen: Seen) -> Drawn:
    """The same picture for a report."""
    with _style():
        return drawn(_figure(seen), name, caption)


def _style() -> Any:
    import matplotlib

    warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
    return matplotlib.rc_context(STYLE_OF_PAGE)


def _figure(seen: Seen) -> Figure:
    from matplotlib.figure import Figure

    layers, heads, *lengths = seen.weights.shape
    height, width = (max(LEAST, OF_TOKEN * length if length <= MOST_NAMED else 0) + AROUND for length in lengths)
    figure = Figure(figsize=(heads * width, layers * height), layout="constrained")
    panels: Any = figure.subplots(layers, heads, sharex=True, sharey=True, squeeze=False)
    found = entropies(seen.weights)
    for layer, head in np.ndindex(layers, heads):
        panel = panels[layer, head]
        picture = panel.imshow(seen.weights[layer, head], cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
        where = f"layer {layer + 1}, head {head + 1}\n" if layers * heads > 1 else ""
        panel.set_title(f"{where}entropy {found[layer, head]:.2f}", fontsize=9)
    _name_ticks(panels[0, 0], seen)
    for panel in panels.flat:
        panel.tick_params(labelsize=8)
        panel.tick_params(axis="x", rotation=90 if max(map(len, seen.columns)) > 1 else 0)
    figure.supxlabel(printable(seen.column_heading), fontsize=10)
    figure.supylabel(printable(seen.row_heading), fontsize=10)
    figure.colorbar(picture, ax=panels, label="weight", shrink=max(0.3, 1 / layers))
    return figure


def _name_ticks(panel: Any, seen: Seen) -> None:
    """Write the names of tokens beside the axes, which all panels share, unless they are too many."""
    for axis, names in ((panel.xaxis, seen.columns), (panel.yaxis, seen.rows)):
        if len(names) <= MOST_NAMED:
            axis.set_ticks(range(len(names)), [shown(name) for name in names])


def shown(token: str) -> str:
    """A token with its white space visible."""
    return printable(token.replace(" ", "\u00b7").replace("\n", "\\n").replace("\t", "\\t")) or "\u00b7"
