"""Known defaults that can be flipped in any torch module, one at a time, to JAX's behaviour, as data."""
