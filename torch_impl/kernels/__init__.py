"""What needs kernels of our own on a GPU; XLA makes them by itself, so nothing here has a twin."""
