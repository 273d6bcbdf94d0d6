"""The catalogue of known divergences between PyTorch and JAX/Flax; every row is a runnable case."""
