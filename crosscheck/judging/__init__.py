"""Turns two recordings into rows, one verdict each, and the rows into the first divergence."""
