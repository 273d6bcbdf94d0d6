"""The catalogue as one table: every known divergence by its id."""

from collections.abc import Iterable

from crosscheck.divergences.biases import BIASES
from crosscheck.divergences.defaults import DEFAULTS
from crosscheck.divergences.findings import FINDINGS
from crosscheck.divergences.gpu import GPU
from crosscheck.divergences.initial import INITIAL
from crosscheck.divergences.kinks import KINKS
from crosscheck.divergences.known import KnownDivergence
from crosscheck.divergences.layout import LAYOUT
from crosscheck.divergences.losses import LOSSES
from crosscheck.divergences.masks import MASKS
from crosscheck.divergences.names import NAMES
from crosscheck.divergences.normalisation import NORMALISATION
from crosscheck.divergences.optimizers import OPTIMIZERS
from crosscheck.divergences.precision import PRECISION
from crosscheck.divergences.recurrent import RECURRENT
from crosscheck.divergences.sequences import SEQUENCES
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
]


def index(tables: Iterable[tuple[KnownDivergence, ...]]) -> dict[str, KnownDivergence]:
    """Every row by its id, in the order of the ids."""
    return {row.id: row for row in sorted((row for table in tables for row in table), key=lambda row: row.id)}


DIVERGENCES: dict[str, KnownDivergence] = index(TABLES)


def find_divergence(id: str) -> KnownDivergence:
    """The row with this id, as in "D18"; raises IsogradError that names the nearest ids."""
    check_choice("divergence", id, DIVERGENCES)
    return DIVERGENCES[id]
