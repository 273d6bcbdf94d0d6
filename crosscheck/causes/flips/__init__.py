"""Known defaults that can be flipped in any torch module, one at a time: what JAX would do in its place, as data."""
