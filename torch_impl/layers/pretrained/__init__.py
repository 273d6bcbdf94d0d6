"""Layers of pretrained encoders. Twin: jax_impl/layers/pretrained/__init__.py."""
