"""What a GPU runs faster than the framework's own operations; JAX's compiler needs no such help, so there is no twin."""
