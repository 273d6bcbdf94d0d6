"""The kernels from a changed source, in place of those of shared/kernels/gru.py; no file of the project is modified."""

import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import shared.kernels
from crosscheck.faults.fault import TextChange
from crosscheck.faults.planting import ROOT, with_change
from shared.cuda import gru_clusters

NAME = "shared.kernels.gru"
FILE = ROOT / "shared" / "kernels" / "gru.py"


@contextmanager
def planted_kernels(changes: Sequence[TextChange]) -> Iterator[None]:
    """Launch the changed kernels in this context, in the whole process.

    Raises IsogradError if a text to be changed does not occur exactly once.
    """
    source = _changed(FILE.read_text(encoding="utf-8"), changes, FILE.name)
    before = importlib.import_module(NAME)
    with tempfile.TemporaryDirectory() as folder:
        _install(_loaded(source, Path(folder) / FILE.name))
        try:
            yield
        finally:
            _install(before)


@contextmanager
def planted_clusters(changes: Sequence[TextChange]) -> Iterator[None]:
    """Launch the changed kernels of clusters in this context. Raises as `planted_kernels` does."""
    before = gru_clusters.kernels
    source = _changed(before(), changes, " and ".join(file.name for file in gru_clusters.KERNELS))
    gru_clusters.kernels = lambda: source
    try:
        yield
    finally:
        gru_clusters.kernels = before


def _changed(source: str, changes: Sequence[TextChange], name: str) -> str:
    for change in changes:
        source = with_change(source, change, name)
    return source


def _loaded(source: str, path: Path) -> ModuleType:
    """Triton reads a kernel's source from its file."""
    path.write_text(source, encoding="utf-8")
    specification = importlib.util.spec_from_file_location(NAME, path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _install(module: ModuleType) -> None:
    sys.modules[NAME] = module
    shared.kernels.gru = module  # type: ignore[attr-defined]
