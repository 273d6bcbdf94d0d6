"""`isograd list`: twins, experiments, datasets, optimizers, studies, faults, known divergences, what GRUs run as."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module

from experiments.catalogue import EXPERIMENTS
from experiments.progress.display import print_json
from shared.backend import DEVICES, DTYPES, PACKAGES, find_backend
from shared.configs.validation import check_choice
from shared.errors import IsogradError

UNITS = 512  # of the GRU layers that are told about
Rows = list[dict[str, str]]


def twins() -> Rows:
    from shared.example_inputs import cases
    from shared.registry import TWINS

    return [
        {"name": name, "file": f"{twin.module.replace('.', '/')}.py", "cases": ", ".join(cases(twin))}
        for name, twin in TWINS.items()
    ]


def experiments() -> Rows:
    return [
        {"name": name, "title": experiment.title, "dataset": experiment.dataset}
        for name, experiment in EXPERIMENTS.items()
    ]


def datasets() -> Rows:
    from shared.data import DATASETS
    from shared.data.language.corpora import CORPORA
    from shared.data.pairs.word_lists import WORD_LISTS

    reviews = [
        {"name": name, "description": row.description, "sources": _sources(row.built_in, row.hub_id)}
        for name, row in DATASETS.items()
    ]
    corpora = [
        {"name": name, "description": row.description, "sources": _sources(row.built_in, " ".join(row.hub or ()))}
        for name, row in CORPORA.items()
    ]
    words = [
        {"name": name, "description": row.description, "sources": _sources(row.built_in, None)}
        for name, row in WORD_LISTS.items()
    ]
    return [*reviews, *corpora, *words]


def _sources(built_in: object, hub: str | None) -> str:
    sources = {"built in": built_in is not None, "--data FOLDER": True, f"--data hub ({hub})": bool(hub)}
    return ", ".join(source for source, is_there in sources.items() if is_there)


def faults() -> Rows:
    from crosscheck.faults.table import FAULTS

    return [{"name": fault.name, "twin": fault.twin, "what": fault.what} for fault in FAULTS.values()]


def divergences() -> Rows:
    from crosscheck.divergences.table import DIVERGENCES

    return [{"id": row.id, "name": row.name, "trigger": row.trigger} for row in DIVERGENCES.values()]


def optimizers() -> Rows:
    from shared.configs.optimizer import OPTIMIZERS

    return [
        {
            "name": name,
            "hyperparameters": ", ".join(f"{key} {value}" for key, value in asdict(config()).items() if key != "name"),
        }
        for name, config in OPTIMIZERS.items()
    ]


def studies() -> Rows:
    from experiments.studies.table import STUDIES

    return [{"name": row.name, "title": row.title, "course": row.course} for row in STUDIES.values()]


def grus() -> Rows:
    rows = []
    for name in PACKAGES:
        for device in DEVICES:
            with suppress(IsogradError):  # there is none, or no such framework
                found = find_backend(name, dtype="float32", device=device).find_device(device)
                layers = import_module(f"{name}_impl.layers.fused_gru")
                runs = {dtype: layers.describe_gru("fused", UNITS, dtype, found) for dtype in DTYPES}
                here = {"backend": name, "device": device}
                rows += [{**here, "dtype": dtype, "a layer runs as": text} for dtype, text in runs.items()]
    return rows


LISTS: dict[str, Callable[[], Rows]] = {
    "twins": twins,
    "experiments": experiments,
    "datasets": datasets,
    "optimizers": optimizers,
    "studies": studies,
    "faults": faults,
    "divergences": divergences,
    "grus": grus,
}
QUICK = ("twins", "experiments", "datasets", "optimizers", "studies")  # by default: the others need both frameworks


def list_command(what: str | None = None, /, *, json: bool = False) -> None:
    """List twins, experiments, datasets, optimizers, studies, faults, known divergences, or what GRUs run as here.

    Args:
        what: twins, experiments, datasets, optimizers, studies, faults, divergences or grus; if omitted, all but the
            last 3.
        json: Print JSON.
    """
    if what is not None:
        check_choice("list", what, LISTS)
    found = {name: rows() for name, rows in LISTS.items() if name in ([what] if what else QUICK)}
    if json:
        print_json(found)
        return
    for name, rows in found.items():
        print(f"{name}:")
        widths = [max(len(row[column]) for row in rows) for column in rows[0]]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row.values(), widths, strict=True))
            print(f"  {'  '.join(cells)}".rstrip())
