"""`isograd report`: curves and a table of runs as one page."""

from pathlib import Path

from experiments.progress import print_json
from shared.errors import IsogradError


def report(runs: tuple[Path, ...], /, *, out: Path | None = None, json: bool = False) -> None:
    """Draw the curves of runs on one axis, with a table, as HTML and Markdown.

    Args:
        runs: Run folders, or folders of run folders.
        out: Where the report goes (a folder `report` in the first run).
        json: Print the figures as JSON too.
    """
    from experiments.comparison import expand_runs
    from experiments.output import check_folder
    from experiments.report import collect, write_report

    if not runs:
        raise IsogradError("expected run folders, got none: `isograd report runs/a runs/b` draws two on one axis")
    folders = expand_runs(runs)
    folder = out or Path(runs[0]) / "report"
    check_folder(folder)
    page = write_report(folders, folder)
    if json:
        print_json({"report": str(page), **collect(folders)})
    else:
        print(f"open {page}")
