"""The table of a report: a row per run, columns for what tells the runs apart and for figures, and their meanings."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments.plain_text import listed
from experiments.reports.runs import Run, figures_of
from experiments.reports.summary import MEBIBYTE
from shared.tasks.task import Figure

LOSS = Figure("loss", "loss", "L", higher_is_better=False)
OFTEN_EQUAL = ("experiment", "architecture", "backend", "dtype", "baseline", "steps")  # if they are, stated once
AFTER_EXPERIMENT = "architecture"  # the column that describes what the column "experiment" names
PREFIXES = {"base": "baseline", "val": "validation", "train": "train"}  # index of a symbol -> prefix of a row's entry
MEANINGS = {
    "P": "trainable parameters",
    "best at": "the iteration (batch) of the best validation",
    "t_train": "wall-clock time of the updates, without evaluation, checkpoints and compilation",
    "t_eval": "wall-clock time of all evaluations, without compilation",
    "t_compile": "wall-clock time of compilation (less if compiled programs were cached)",
    "speed": "training {units} per second, the median over the run",
    "M_steady, M_peak": "memory in use at the end, and peak memory, of the GPU or, on a CPU, of the whole process",
}
OF_FIGURES = {
    "base": "validation {titles} of a model that ignores its inputs",
    "val": "validation {titles} at the best validation ({best}); the best of all runs is bold",
    "train": "mean {titles} over the training batches of the last epoch, with dropout on",
}


class Column(NamedTuple):
    """A heading such as "t_train [s]", the entry of a row that it shows, and how."""

    heading: str
    entry: str
    show: Callable[[Any], str]


def _mebibytes(number: int) -> str:
    return f"{number / MEBIBYTE:,.0f}"


NAMES = tuple(Column(name, name, str) for name in ("experiment", "architecture", "backend", "dtype"))
PARAMETERS = Column("P", "parameters", "{:,}".format)
BETWEEN = (Column("best at", "best_step", "{:,}".format), Column("steps", "steps", "{:,}".format))
AFTER = (
    Column("t_train [s]", "training_seconds", "{:.1f}".format),
    Column("t_eval [s]", "evaluation_seconds", "{:.1f}".format),
    Column("t_compile [s]", "compile_seconds", "{:.1f}".format),
    Column("speed [1/s]", "per_second", "{:,.0f}".format),
    Column("M_steady [MiB]", "steady_bytes", _mebibytes),
    Column("M_peak [MiB]", "peak_bytes", _mebibytes),
)


def table_of(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Headings, cells and symbols; columns in which all runs are equal may go into one sentence (`equal`)."""
    rows = [{**entry, **{_setting(name): text for name, text in entry["differing"].items()}} for entry in rows]
    tells = _tells(rows)
    columns = [*tells, *_columns(_figures(runs), rows)]
    shared = [column for column in _names_besides(tells) + columns if _is_often_equal(column, rows)]
    shown = [column for column in columns if column not in shared]
    best = _best(figures_of(runs)[0], rows)
    return {
        "columns": [column.heading for column in shown],
        "explained": [_lines(column.heading) for column in shown],
        "texts": sum(column in (*tells, *NAMES) for column in shown),
        "rows": [_cells(entry, shown, best) for entry in rows],
        "equal": _equal(shared, rows),
        "symbols": _symbols(runs, rows),
    }


def _equal(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> str:
    """One sentence with what all runs have in common."""
    found = "; ".join(f"{column.heading} {_text(rows[0], column)}" for column in columns)
    return f"{'Equal in all runs' if len(rows) > 1 else 'Of this run'}: {found}." if found else ""


def _setting(heading: str) -> str:
    """The entry of a setting in which runs differ: no other entry has its name."""
    return f"setting: {heading}"


def _tells(rows: Sequence[dict[str, Any]]) -> list[Column]:
    """The columns of the settings in which the runs differ, and of what their experiments are."""
    headings = dict.fromkeys(heading for entry in rows for heading in entry["differing"])
    columns = [Column(heading, _setting(heading), str) for heading in headings]
    architecture = [column for column in NAMES if column.heading == AFTER_EXPERIMENT]
    return [*columns[:1], *architecture, *columns[1:]] if "experiment" in headings else columns


def _names_besides(tells: Sequence[Column]) -> list[Column]:
    """The names of the runs that no column tells, since they are equal."""
    told = {column.heading for column in tells}
    return [column for column in NAMES if column.heading not in told]


def _figures(runs: Sequence[Run]) -> list[Figure]:
    """The figures of all tasks, with the loss after the first."""
    first, *others = figures_of(runs)
    return [first, LOSS, *others]


def _columns(figures: Sequence[Figure], rows: Sequence[dict[str, Any]]) -> list[Column]:
    base, val, train = (_columns_of_figures(figures, index, rows) for index in PREFIXES)
    return [PARAMETERS, *base, *val, *BETWEEN, *train, *AFTER]


def _columns_of_figures(figures: Sequence[Figure], index: str, rows: Sequence[dict[str, Any]]) -> list[Column]:
    return [
        Column(f"{figure.symbol}_{index}", f"{PREFIXES[index]}_{figure.name}", figure.show.format)
        for figure in _there(figures, index, rows)
    ]


def _there(figures: Sequence[Figure], index: str, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The figures that a row has under this index."""
    return [figure for figure in figures if any(f"{PREFIXES[index]}_{figure.name}" in entry for entry in rows)]


def _symbols(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The meanings of the headings, in the order of the columns."""
    first, *_ = figures = _figures(runs)
    best = f"{'highest' if first.higher_is_better else 'lowest'} {first.title}, then lowest loss"
    units = " or ".join(dict.fromkeys(run.task.unit for run in runs))
    there = {index: _there(figures, index, rows) for index in PREFIXES}
    base, val, train = (
        {
            ", ".join(f"{figure.symbol}_{index}" for figure in found): OF_FIGURES[index].format(
                titles=_titles(found), best=best
            )
        }
        if found
        else {}
        for index, found in there.items()
    )
    meanings = {symbol: meaning.format(units=units) for symbol, meaning in MEANINGS.items()}
    return {"P": meanings.pop("P"), **base, **val, "best at": meanings.pop("best at"), **train, **meanings}


def _titles(figures: Sequence[Figure]) -> str:
    return listed([f"{figure.title} ({figure.note})" if figure.note else figure.title for figure in figures])


def _is_often_equal(column: Column, rows: Sequence[dict[str, Any]]) -> bool:
    return column.entry.startswith(OFTEN_EQUAL) and len({entry.get(column.entry) for entry in rows}) == 1


def _best(figure: Figure, rows: Sequence[dict[str, Any]]) -> tuple[str, float] | None:
    """The entry and the value of the best validation of all rows."""
    name = f"validation_{figure.name}"
    found = [entry[name] for entry in rows if entry.get(name) is not None]
    return (name, max(found) if figure.higher_is_better else min(found)) if found else None


def _cells(entry: dict[str, Any], columns: Sequence[Column], best: tuple[str, float] | None) -> list[tuple[str, bool]]:
    """The text of each cell, and whether it is bold."""
    return [(_text(entry, column), (column.entry, entry.get(column.entry)) == best) for column in columns]


def _text(entry: dict[str, Any], column: Column) -> str:
    return "–" if entry.get(column.entry) is None else column.show(entry[column.entry])


def _lines(heading: str) -> tuple[str, str, str]:
    """A heading split into symbol, index and unit: "t_train [s]" as t, train and [s]."""
    symbol, _, unit = heading.partition(" [")
    letter, _, index = symbol.partition("_")
    return letter, index, f"[{unit}" if unit else ""
