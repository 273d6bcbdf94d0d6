"""Configurations: frozen dataclasses that say what to build and how to train it."""
