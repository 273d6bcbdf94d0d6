"""What all benchmarks are told: where they run, and how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`experiments`: those of the catalogue whose steps are timed; none: the benchmark's own choice."""

    device: str = "cpu"
    dtype: str = "float32"
    experiments: tuple[str, ...] = ()
    batch_size: int | None = None
    rounds: int = 5
