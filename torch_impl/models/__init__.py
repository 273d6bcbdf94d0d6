"""Models, one idea a file. Twin: jax_impl/models/__init__.py."""
