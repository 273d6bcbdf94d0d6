"""`isograd report`: curves and a table of runs as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.commands.options import check_options, command_line
from experiments.progress.display import print_json
from shared.errors import IsogradError

if TYPE_CHECKING:
    from experiments.reports.attention_maps import Seen


def report(
    runs: tuple[Path, ...],
    /,
    *,
    out: Path | None = None,
    table: Path | None = None,
    attention: str | None = None,
    json: bool = False,
) -> None:
    """Draw the curves of runs on one axis, with a table, as HTML and Markdown.

    Args:
        runs: Run folders, or folders of run folders; with --table, also folders of lockstep certificates.
        out: Folder for the report; if omitted, `report` in the first run.
        table: Write only the table, to this Markdown file.
        attention: Also draw what each token of this text attends to, in every head of each run's best checkpoint.
        json: Also print the figures as JSON.
    """
    given = dict(locals())
    check_options("report", report, given)
    command = command_line("report", report, given)
    from experiments.reports.certificate_table import find_certificates, write_certificates
    from experiments.reports.report import collect, write_report, write_results
    from experiments.reports.runs import expand_runs
    from experiments.training.folder import check_folder, check_replaceable, check_table

    if not runs:
        raise IsogradError("expected run folders, got none: `isograd report runs/a runs/b` draws two on one axis")
    if table is not None:
        check_table(table)
    if table is not None and (certificates := find_certificates(runs)):
        write_certificates(certificates, table, command)
        print(f"wrote {table}")
        return
    folders = expand_runs(runs)
    if table is not None:
        write_results(folders, table, command)
        print(f"wrote {table}")
        return
    folder = out or Path(runs[0]) / "report"
    check_folder(folder)
    check_replaceable(folder)
    page = write_report(folders, folder, None if attention is None else _seen(folders, attention))
    if json:
        print_json({"report": str(page), **collect(folders)})
    else:
        print(f"open {page}")


def _seen(folders: list[Path], text: str) -> dict[Path, Seen]:
    """What each run's model attends to in a text; raises IsogradError for runs whose task has no such model."""
    from experiments.commands import generate, translate
    from experiments.progress.display import make_progress
    from experiments.training.run_config import read_config

    looks = {command.TASK: command.seen_by_run for command in (generate, translate)}
    tasks = {folder: read_config(folder).experiment.task for folder in folders}
    for folder, task in tasks.items():
        if task not in looks:
            raise IsogradError(
                f"--attention: {folder} was trained for {task}: pass runs of language models or of translators"
            )
    with make_progress(quiet=True) as progress:
        return {folder: looks[task](folder, text, progress) for folder, task in tasks.items()}
