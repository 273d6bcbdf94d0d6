"""Layers of pretrained encoders. Twin: torch_impl/layers/pretrained/__init__.py."""
