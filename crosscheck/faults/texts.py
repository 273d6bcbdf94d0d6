"""Texts that several rows change: those that read the same in both twins, and one of the torch twin."""

TextChange = tuple[str, str]  # (old, new)
TORCH_MASK = "torch.from_numpy(rng.random_mask(key, math.prod(shape), threshold, first)).reshape(shape)"


def alike(old: str, new: str) -> tuple[TextChange, TextChange]:
    """The same change for torch and for JAX: the twins are siblings, line by line."""
    return (old, new), (old, new)
