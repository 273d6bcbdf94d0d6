"""Planted faults as data, one file per topic."""
