"""Layers, one idea a file. Twin: jax_impl/layers/__init__.py."""
