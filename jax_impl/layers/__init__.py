"""Layers, one idea a file. Twin: torch_impl/layers/__init__.py."""
