"""Other ways to attend than GPT-2 has. Twin: torch_impl/layers/ablations/__init__.py."""
