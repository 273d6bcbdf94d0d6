"""A picture of what each letter of a translation attends to."""

from pathlib import Path

import numpy as np

from experiments.reports.drawing import STYLE_OF_PAGE
from shared.errors import IsogradError

FORMATS = (".png", ".svg", ".pdf")
END_MARK = "end"


def check_picture(path: Path) -> None:
    """Raise IsogradError unless a picture can be written there."""
    if path.suffix not in FORMATS:
        raise IsogradError(f"{path}: expected a file name that ends with {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise IsogradError(f"{path}: the folder {path.parent} does not exist: create it first")


def draw_attention(path: Path, source: str, target: str, weights: np.ndarray) -> None:
    """Write the weights (T + 1, S) of a target's letters, its end included, over a source's; darker is more."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE_OF_PAGE):
        figure = Figure(figsize=(1.6 + 0.3 * len(source), 1.2 + 0.3 * len(weights)), layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0)
        axes.set_xticks(range(len(source)), list(source))
        axes.set_yticks(range(len(weights)), [*target, END_MARK])
        axes.set_xlabel(f"letters of {source}")
        axes.set_ylabel("letter that is written")
        figure.colorbar(picture, label="weight")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
