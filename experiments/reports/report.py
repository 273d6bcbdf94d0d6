"""The report of runs: one self-contained HTML page, and the same in Markdown with its figures beside it."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.catalogue import EXPERIMENTS
from experiments.reports.figures import draw_all
from experiments.reports.panels import draw_experiments, draw_memory, draw_side_by_side
from experiments.reports.runs import Run, describe_pair, pairs, read_run
from experiments.reports.summary import MEBIBYTE, row
from shared.atomic import new_file
from shared.configs.experiment import Experiment

TEMPLATES = Path(__file__).parent / "templates"
PAGES = {"report.html": "report.html.jinja", "report.md": "report.md.jinja"}
Format = Callable[[Any], str]
Column = tuple[str, str, Format]
OFTEN_EQUAL = ("dtype", "majority_accuracy", "steps")  # said once where they are, so that the table stays narrow
COLUMNS: tuple[Column, ...] = (  # heading, entry of a row, how it is shown
    ("experiment", "experiment", str),
    ("architecture", "architecture", str),
    ("backend", "backend", str),
    ("dtype", "dtype", str),
    ("P", "parameters", "{:,}".format),
    ("A_major", "majority_accuracy", "{:.4f}".format),
    ("A_val", "validation_accuracy", "{:.4f}".format),
    ("L_val", "validation_loss", "{:.4f}".format),
    ("F1_val", "validation_f1", "{:.4f}".format),
    ("best at", "best_step", "{:,}".format),
    ("steps", "steps", "{:,}".format),
    ("A_train", "train_accuracy", "{:.4f}".format),
    ("L_train", "train_loss", "{:.4f}".format),
    ("t_train [s]", "training_seconds", "{:.1f}".format),
    ("t_eval [s]", "evaluation_seconds", "{:.1f}".format),
    ("t_compile [s]", "compile_seconds", "{:.1f}".format),
    ("speed [1/s]", "examples_per_second", "{:,.0f}".format),
    ("M_steady [MiB]", "steady_bytes", lambda number: f"{number / MEBIBYTE:,.0f}"),
    ("M_peak [MiB]", "peak_bytes", lambda number: f"{number / MEBIBYTE:,.0f}"),
)
SYMBOLS = {
    "P": "trainable parameters",
    "A_major": "accuracy on the validation split of always answering the commonest label of the training split",
    "A_val, L_val, F1_val": "accuracy, loss and F1 (of more than two labels: the mean) on the validation split at the "
    "best validation (highest accuracy, then lowest loss); the best of the column is bold",
    "best at": "the iteration of the best validation",
    "A_train, L_train": "mean accuracy and loss over the training batches of the last epoch, dropout on",
    "t_train": "wall-clock of the updates, without evaluation, checkpoints and compilation",
    "t_eval": "wall-clock of all evaluations together, without compilation",
    "t_compile": "wall-clock of compilation (less where compiled programs were found in the cache)",
    "speed": "examples of training a second, the median over the run",
    "M_steady, M_peak": "memory in use at the end and at most: of the GPU, or on a CPU of the whole process",
}


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write report.html, report.md and the figures into `out`; returns the page to open."""
    runs = _in_order([read_run(folder) for folder in folders])
    sections = {
        "Curves": draw_all(runs),
        "Each experiment": draw_experiments(runs),
        "Side by side": draw_side_by_side(runs),
        "Memory": [draw_memory(runs)],
    }
    content = {
        "sections": {heading: figures for heading, figures in sections.items() if figures},
        "symbols": SYMBOLS,
        **_words(runs),
    }
    for figure in itertools.chain(*sections.values()):
        _write(out / f"{figure.name}.svg", figure.svg.encode())
        _write(out / f"{figure.name}.png", figure.png)
    for page, template in PAGES.items():
        _write(out / page, _render(template, content))
    return out / "report.html"


def write_results(folders: Sequence[Path], path: Path, command: str) -> None:
    """Write the table alone, as Markdown, with what it was measured on and by which command: a file to commit."""
    runs = _in_order([read_run(folder) for folder in folders])
    conditions = sorted({_settings(run) for run in runs})
    content = {"symbols": SYMBOLS, "conditions": conditions, "command": command, **_words(runs)}
    _write(path, _render("results.md.jinja", content))


def collect(folders: Sequence[Path]) -> dict[str, Any]:
    """The figures of the report as data."""
    runs = _in_order([read_run(folder) for folder in folders])
    return {"runs": [row(run) for run in runs], "pairs": [describe_pair(*pair) for pair in pairs(runs)]}


def _words(runs: list[Run]) -> dict[str, Any]:
    rows = [row(run) for run in runs]
    shared = [
        column for column in COLUMNS if column[1] in OFTEN_EQUAL and len({entry[column[1]] for entry in rows}) == 1
    ]
    shown = [column for column in COLUMNS if column not in shared]
    best = max((entry["validation_accuracy"] or 0.0 for entry in rows), default=None)
    return {
        "title": _title(list(dict.fromkeys(run.experiment for run in runs))),
        "columns": [heading for heading, _, _ in shown],
        "explained": [_lines(heading) for heading, _, _ in shown],
        "rows": [_cells(entry, shown, best) for entry in rows],
        "equal": ", ".join(f"{heading} {_text(rows[0], name, show)}" for heading, name, show in shared),
        "pairs": [describe_pair(*pair) for pair in pairs(runs)],
        "notes": [(run.label, entry["note"]) for run, entry in zip(runs, rows, strict=True)],
        "runs": [(run.label, run.folder, _settings(run)) for run in runs],
    }


def _title(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}: {len(names)} experiments"


def _cells(entry: dict[str, Any], columns: list[Column], best: float | None) -> list[tuple[str, bool]]:
    """The text of each cell, and whether it is bold."""
    return [
        (_text(entry, name, show), name == "validation_accuracy" and entry[name] == best) for _, name, show in columns
    ]


def _text(entry: dict[str, Any], name: str, show: Format) -> str:
    return "–" if entry[name] is None else show(entry[name])


def _lines(heading: str) -> tuple[str, str, str]:
    """A heading as a symbol, its index, and its unit: "t_train [s]" as t, train and [s]."""
    symbol, _, unit = heading.partition(" [")
    letter, _, index = symbol.partition("_")
    return letter, index, f"[{unit}" if unit else ""


def _settings(run: Run) -> str:
    config, experiment = run.config, run.config.experiment
    versions = ", ".join(f"{name} {version}" for name, version in config.versions.items())
    return (
        f"{config.data_origin} ({config.training_examples:,} to train on, {config.validation_examples:,} to validate "
        f"on); {config.tokenizer_origin}; length {experiment.length}, batch {experiment.batch_size}, "
        f"seed {experiment.seed}, {_update(experiment)}; {versions}"
    )


def _update(experiment: Experiment) -> str:
    """How the weights are updated, as far as it is not the plain rule at a constant rate."""
    optimizer, training, schedule = experiment.optimizer, experiment.training, experiment.schedule
    warmup = f" after a warm-up of {schedule.warmup} updates" if schedule.warmup else ""
    parts = {
        f"{type(optimizer).__name__.removesuffix('Config')} rate {optimizer.learning_rate:g}": True,
        f"{schedule.name}{warmup}": schedule.name != "constant" or schedule.warmup,
        f"clipped to {training.clip_norm}": training.clip_norm is not None,
        f"{training.accumulate} batches an update": training.accumulate > 1,
        f"weights averaged with decay {training.average_decay}": training.average_decay is not None,
    }
    return ", ".join(text for text, is_so in parts.items() if is_so)


def _in_order(runs: list[Run]) -> list[Run]:
    names = list(EXPERIMENTS)
    places = {name: place for place, name in enumerate(names)}
    return sorted(runs, key=lambda run: (places.get(run.experiment, len(names)), run.backend == "jax"))


def _render(template: str, content: dict[str, Any]) -> bytes:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=lambda name: bool(name and ".html" in name))
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(template).render(content).encode()


def _write(path: Path, data: bytes) -> None:
    with new_file(path) as temporary:
        temporary.write_bytes(data)
