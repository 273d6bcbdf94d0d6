"""Models, one idea a file. Twin: torch_impl/models/__init__.py."""
