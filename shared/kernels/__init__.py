"""Triton sources of the kernels that both frameworks may launch; imported only where a GPU runs them."""
