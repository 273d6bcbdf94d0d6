"""`isograd demo`: what `make demo` shows."""

from pathlib import Path


def demo(*, out: Path = Path("runs/demo")) -> int:
    """Crosscheck every twin, train a GRU and a Transformer with both backends, and draw all four runs.

    Args:
        out: Where runs and report go; made anew each time.
    """
    from experiments.demo import run_demo

    return run_demo(out)
