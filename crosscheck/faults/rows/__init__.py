"""Planted faults as data, a file for each idea."""
