"""The terminal output during a run."""
