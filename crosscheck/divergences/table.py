"""The catalogue as one table: every known divergence by its id."""

from collections.abc import Iterable

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.rows.biases import BIASES
from crosscheck.divergences.rows.defaults import DEFAULTS
from crosscheck.divergences.rows.found_here import FINDINGS
from crosscheck.divergences.rows.gpu import GPU
from crosscheck.divergences.rows.initial_weights import INITIAL
from crosscheck.divergences.rows.kinks import KINKS
from crosscheck.divergences.rows.layouts import LAYOUT
from crosscheck.divergences.rows.losses import LOSSES
from crosscheck.divergences.rows.masks import MASKS
from crosscheck.divergences.rows.names import NAMES
from crosscheck.divergences.rows.normalisation import NORMALISATION
from crosscheck.divergences.rows.optimizers import OPTIMIZERS
from crosscheck.divergences.rows.ports import PORTS
from crosscheck.divergences.rows.precision import PRECISION
from crosscheck.divergences.rows.recurrent import RECURRENT
from crosscheck.divergences.rows.sequences import SEQUENCES
from shared.configs.validation import check_choice

TABLES: list[tuple[KnownDivergence, ...]] = [
    LAYOUT,
    RECURRENT,
    BIASES,
    NAMES,
    NORMALISATION,
    DEFAULTS,
    INITIAL,
    LOSSES,
    MASKS,
    SEQUENCES,
    KINKS,
    PRECISION,
    GPU,
    OPTIMIZERS,
    FINDINGS,
    PORTS,
]


def index(tables: Iterable[tuple[KnownDivergence, ...]]) -> dict[str, KnownDivergence]:
    """Every row by its id, ordered by the number in it."""
    rows = sorted((row for table in tables for row in table), key=lambda row: int(row.id.removeprefix("D")))
    return {row.id: row for row in rows}


DIVERGENCES: dict[str, KnownDivergence] = index(TABLES)


def find_divergence(id: str) -> KnownDivergence:
    """The row with this id, such as "D18"; raises IsogradError naming similar ids."""
    check_choice("divergence", id, DIVERGENCES)
    return DIVERGENCES[id]
