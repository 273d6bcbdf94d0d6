"""Known divergences as data, one file per topic."""
