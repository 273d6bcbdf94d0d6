"""The report of runs: one self-contained HTML page, and the same in Markdown with its figures next to it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plain_text import file_names, listed, markdown, printable
from experiments.reports import looks
from experiments.reports.attention_maps import Seen, draw_attention
from experiments.reports.differences import told_apart
from experiments.reports.drawing import Drawn
from experiments.reports.figures import draw_all
from experiments.reports.panels import draw_experiments, draw_memory, draw_side_by_side
from experiments.reports.runs import Run, describe_pair, pairs, read_run
from experiments.reports.samples import samples_of
from experiments.reports.summary import NOTES, row
from experiments.reports.table import table_of
from shared.atomic import new_file
from shared.configs.experiment import Experiment
from shared.pages import TEMPLATES as SHARED_TEMPLATES

TEMPLATES = Path(__file__).parent / "templates"
PAGES = {"report.html": "report.html.jinja", "report.md": "report.md.jinja"}


def write_report(folders: Sequence[Path], out: Path, seen: Mapping[Path, Seen] | None = None) -> Path:
    """Write report.html, report.md and the figures into `out`; returns the page to open.

    `seen` is what the models of some folders attend to, which is drawn too.
    """
    runs = told_apart([read_run(folder) for folder in folders])
    sections = _with_file_names(
        {
            "Curves": draw_all(runs),
            "Training and validation": draw_experiments(runs),
            "Side by side": draw_side_by_side(runs),
            "Attention": [_attention(run, seen[run.folder]) for run in runs if seen and run.folder in seen],
            "Memory": [draw_memory(runs)],
        }
    )
    content = {
        "sections": {heading: figures for heading, figures in sections.items() if figures},
        **_words(runs),
    }
    for figure in itertools.chain(*sections.values()):
        figure.write(out)
    for page, template in PAGES.items():
        _write(out / page, _render(template, content))
    return out / "report.html"


def _attention(run: Run, seen: Seen) -> Drawn:
    tokens = len(seen.columns)
    caption = (
        f"What each token attends to in {run.label}: darker is more. The entropy of a head, in nats, is 0 if each "
        f"token attends to one alone, and at most {np.log(tokens):.2f}, the logarithm of {tokens} tokens."
    )
    return draw_attention(f"attention_{run.label}", caption, seen)


def _with_file_names(sections: dict[str, list[Drawn]]) -> dict[str, list[Drawn]]:
    """The same figures; their names, which hold names from files, become file names."""
    safe = file_names(figure.name for figures in sections.values() for figure in figures)
    return {
        heading: [replace(figure, name=safe[figure.name]) for figure in figures]
        for heading, figures in sections.items()
    }


def write_results(folders: Sequence[Path], path: Path, command: str) -> None:
    """Write only the table, as Markdown to commit, with what it was measured on and the command."""
    runs = told_apart([read_run(folder) for folder in folders])
    conditions = sorted({_settings(run) for run in runs})
    content = {"conditions": conditions, "command": command, **_words(runs)}
    _write(path, _render("results.md.jinja", content))


def collect(folders: Sequence[Path]) -> dict[str, Any]:
    """The figures of the report as data."""
    runs = told_apart([read_run(folder) for folder in folders])
    return {"runs": [row(run) for run in runs], "pairs": [describe_pair(*pair) for pair in pairs(runs)]}


def _words(runs: list[Run]) -> dict[str, Any]:
    rows = [row(run) for run in runs]
    return {
        "title": _title(list(dict.fromkeys(run.experiment for run in runs))),
        **table_of(runs, rows),
        "pairs": [describe_pair(*pair) for pair in pairs(runs)],
        "notes_explained": NOTES,
        "samples": samples_of(runs),
        "lead": _lead(runs),
        "looks": [looks.look_of(run) for run in runs],
        "colours": {name: looks.as_css(dark=name == "dark") for name in ("light", "dark")},
        "notes": [(run.label, entry["note"]) for run, entry in zip(runs, rows, strict=True)],
        "runs": [(run.label, run.folder, _settings(run)) for run in runs],
    }


def _lead(runs: list[Run]) -> str:
    """One sentence: the number of runs, and what tells them apart."""
    if len(runs) == 1:
        return f"One run, in the folder {runs[0].label}."
    differing = list(dict.fromkeys(heading for run in runs for heading in run.differing))
    if differing == ["folder"]:
        return f"{len(runs)} runs with equal settings, in different folders."
    return f"{len(runs)} runs that differ in {listed(differing)}."


def _title(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}: {len(names)} experiments"


def _settings(run: Run) -> str:
    config, experiment = run.config, run.config.experiment
    versions = ", ".join(f"{name} {version}" for name, version in config.versions.items())
    return (
        f"{config.data_origin} ({config.counts['train']:,} {run.task.unit} for training, "
        f"{config.counts['validation']:,} for validation); vocabulary: {config.tokenizer_origin}; "
        f"length {experiment.length}, batch size {experiment.batch_size}, seed {experiment.seed}, "
        f"{_update(experiment)}; {versions}"
    )


def _update(experiment: Experiment) -> str:
    """The settings of the updates, beyond the plain rule at a constant rate."""
    optimizer, training, schedule = experiment.optimizer, experiment.training, experiment.schedule
    warmup = f" after a warm-up of {schedule.warmup} updates" if schedule.warmup else ""
    parts = {
        f"{type(optimizer).__name__.removesuffix('Config')} with learning rate {optimizer.learning_rate:g}": True,
        f"{schedule.name} schedule{warmup}": schedule.name != "constant" or schedule.warmup,
        f"clipped to {training.clip_norm}": training.clip_norm is not None,
        f"{training.accumulate} batches per update": training.accumulate > 1,
        f"weights averaged with decay {training.average_decay}": training.average_decay is not None,
    }
    return ", ".join(text for text, is_so in parts.items() if is_so)


def _render(template: str, content: dict[str, Any]) -> bytes:
    import jinja2

    loader = jinja2.FileSystemLoader((TEMPLATES, SHARED_TEMPLATES))
    environment = jinja2.Environment(loader=loader, autoescape=lambda name: bool(name and ".html" in name))
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["plain"] = markdown
    return printable(environment.get_template(template).render(content)).encode()


def _write(path: Path, data: bytes) -> None:
    with new_file(path) as temporary:
        temporary.write_bytes(data)
