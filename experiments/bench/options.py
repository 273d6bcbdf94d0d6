"""Options shared by all benchmarks: where they run, for how long, and who hears how far they are."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`experiments` are the catalogue entries whose steps are timed; if empty, the benchmark's defaults.

    `implementation` is that of their GRU layers, if not their own.
    """

    device: str = "cpu"
    dtype: str = "float32"
    experiments: tuple[str, ...] = ()
    batch_size: int | None = None
    rounds: int = 5
    implementation: str | None = None
    tell: Callable[[str], None] = lambda what: None
