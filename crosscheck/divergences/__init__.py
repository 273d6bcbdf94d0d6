"""The catalogue of known divergences between PyTorch and JAX/Flax, every row a case that can be run."""
