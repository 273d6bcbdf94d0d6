"""The outcome of a search: a table of its trials, a figure, and both as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.progress.display import nonfinite_as_none
from experiments.reports.drawing import draw, logarithmic
from shared.atomic import new_file
from shared.checkpoint import write_json
from shared.tasks.task import Figure

FIGURE, TABLE, RESULT = "search", "search.md", "search.json"
MARKERS = ("o", "s", "^", "D", "v", "P")


def write_outcome(folder: Path, found: Mapping[str, Any], figure: Figure) -> None:
    """Write search.json, search.md, search.svg and search.png into the folder of the search."""
    caption = f"Best validation {figure.title} of every trial over its learning rate."
    drawn = draw(FIGURE, caption, lambda panels: _scatter(panels[0], found, figure))
    drawn.write(folder)
    with new_file(folder / TABLE) as temporary:
        temporary.write_text(as_markdown(found, figure), encoding="utf-8")
    write_json(folder / RESULT, nonfinite_as_none(dict(found)))


def as_markdown(found: Mapping[str, Any], figure: Figure) -> str:
    """The trials, the best first, and the scores of the best one on every split, beside the baseline of each."""
    done, failed = _parted(found["trials"])
    sign = -1 if figure.higher_is_better else 1
    rows = [
        f"| {row['trial']} | {row['batch_size']} | {row['learning_rate']:.3g} | {row['epochs']} | "
        f"{figure.show.format(row[figure.name])} | {row['loss']:.4f} | {row['best_step']} |"
        for row in sorted(done, key=lambda row: (sign * row[figure.name], row["loss"]))
    ]
    scores = [
        f"| {split} | {figure.show.format(score[figure.name])} | {_baseline(score, figure)} | {score['loss']:.4f} |"
        for split, score in found["scores"].items()
    ]
    return "\n".join(
        [
            f"# Search: {found['experiment']}, {found['backend']}",
            "",
            f"`{found['command']}`: {len(done)} trials, {len(failed)} of them more diverged.".replace(
                ", 0 of them more diverged", ""
            ),
            "",
            f"| trial | batch size | learning rate | epochs | best validation {figure.title} | loss | at step |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"The best {_what(found)} of trial {found['best']}, without dropout:",
            "",
            f"| split | {figure.title} | baseline | loss |",
            "|---|---:|---:|---:|",
            *scores,
            "",
        ]
    )


def _what(found: Mapping[str, Any]) -> str:
    folds = found["space"]["folds"]
    return "checkpoint" if folds is None else f"checkpoints, the mean of {folds} folds,"


def _baseline(score: Mapping[str, Any], figure: Figure) -> str:
    value = score.get(f"baseline_{figure.name}")
    return "–" if value is None else figure.show.format(value)


def _parted(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [row for row in rows if row["state"] == "complete"], [row for row in rows if row["state"] == "fail"]


def _scatter(panel: Any, found: Mapping[str, Any], figure: Figure) -> None:
    done, _ = _parted(found["trials"])
    sizes, counts = (sorted({row[name] for row in done}) for name in ("batch_size", "epochs"))
    for row in done:
        marker, colour = MARKERS[counts.index(row["epochs"]) % len(MARKERS)], f"C{sizes.index(row['batch_size'])}"
        panel.plot(row["learning_rate"], row[figure.name], marker, color=colour)
    for place, size in enumerate(sizes):
        panel.plot([], [], "o", color=f"C{place}", label=f"batches of {size}")
    for place, count in enumerate(counts):
        panel.plot([], [], MARKERS[place % len(MARKERS)], color="k", label=f"{count} epochs")
    baseline = found["scores"]["validation"].get(f"baseline_{figure.name}")
    if baseline is not None:
        panel.axhline(baseline, color="k", linestyle=":", label="majority")
    logarithmic(panel, "x")
    panel.set_xlabel("learning rate")
    panel.set_ylabel(f"best validation {figure.title}")
    panel.legend()
