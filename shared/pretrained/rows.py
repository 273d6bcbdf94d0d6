"""How tables of weights are written: modules by pairs of names, and the same tables for trees of Flax Linen."""

from collections.abc import Iterable, Mapping

from shared.foreign_tables import Row

Rows = tuple[Row, ...]
PARTS = ("weight", "bias")


def modules(pairs: Mapping[str, str], foreign: str = "", canonical: str = "", parts: Iterable[str] = PARTS) -> Rows:
    """A row for the weight and the bias of every pair of modules, below a foreign and a canonical path."""
    paths = {foreign + theirs: canonical + ours for theirs, ours in pairs.items()}
    return tuple(Row(f"{theirs}.{part}", f"{ours}.{part}") for theirs, ours in paths.items() for part in parts)


def linen(rows: Rows) -> Rows:
    """The rows for a Linen tree of the same modules, in the layout of the Flax models of transformers 4.

    There weights are `scale` in norms, `embedding` in tables, and otherwise `kernel`, inputs first.
    """
    return tuple(map(_linen, rows))


def _linen(row: Row) -> Row:
    path, _, part = str(row.foreign).replace(".", "/").rpartition("/")
    module = row.canonical.rsplit(".", 2)[-2] if "." in row.canonical else ""
    if part != "weight":
        return row._replace(foreign=f"{path}/{part}" if path else part)
    if "norm" in module:
        return row._replace(foreign=f"{path}/scale")
    if module.endswith("embedding") and module != "patch_embedding":
        return row._replace(foreign=f"{path}/embedding")
    return row._replace(foreign=f"{path}/kernel", transposed=not row.transposed)
