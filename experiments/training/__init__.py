"""Start, run and resume a training run."""
