"""Matches the tensors of the two sides: names, layouts, preconditions, suggestions."""
