"""Known divergences as data, a file for each idea."""
