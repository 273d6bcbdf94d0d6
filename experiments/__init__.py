"""The runner, the catalogue of experiments, reports, and the command line."""
