"""Runs of either side in which every step in float64 rounds at random."""
