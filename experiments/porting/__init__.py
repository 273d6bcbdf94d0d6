"""Weights between file formats, verified."""
