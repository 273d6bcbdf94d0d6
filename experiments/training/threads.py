"""The number of threads that PyTorch computes with on a CPU; JAX manages its own."""

import os

from shared.configs.experiment import Experiment

WIDTHS = ("hidden_size", "embed_dim")  # arguments of models
WIDE = 128  # between the small experiments (32), which are faster with one thread, and the full ones (256)
ONE_THREAD = "1"


def choose_threads(experiment: Experiment) -> None:
    """One thread for a model narrower than 128, else as many as PyTorch takes; must run before torch is imported.

    Where the best width to change lies, and the best number for a wide model, was not measured. The choice depends on
    the experiment alone, so that a resumed run has the same bits. Waiting threads sleep, so that they leave their
    cores to others. OMP_NUM_THREADS and OMP_WAIT_POLICY of the user win.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if 0 < width(experiment) < WIDE:
        os.environ.setdefault("OMP_NUM_THREADS", ONE_THREAD)


def width(experiment: Experiment) -> int:
    """The size of a model's hidden state; 0 if it has none."""
    return max((experiment.model.arguments.get(name) or 0 for name in WIDTHS), default=0)
