"""Scores the checks on planted faults, next to the criteria of other projects."""
