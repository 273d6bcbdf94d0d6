"""Sentence embeddings: the mean of the states of a text's tokens, as a direction. Twin: torch_impl/embedding.py."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jax_impl.precision import at_least_float32


def embed(module: nnx.Module, inputs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Vectors of length 1 (B, E) by a `BertModel`, for ids (B, T) and their mask (Reimers and Gurevych 2019).

    In float32 at least.
    """
    ids, kept = jnp.asarray(inputs), jnp.asarray(mask)
    states = at_least_float32(module(ids, kept)[0])
    weights = kept.astype(states.dtype)[..., None]
    mean = (states * weights).sum(1) / weights.sum(1)
    return np.asarray(mean / jnp.sqrt((mean**2).sum(-1, keepdims=True)))


def match(module: nnx.Module, inputs: np.ndarray, mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Logits (I, N) of images and texts by a `CLIPModel`, for ids (N, T), their mask and pixels (I, C, S, S)."""
    dtype = module.logit_scale[...].dtype
    ids, kept = jnp.asarray(inputs), jnp.asarray(mask)
    logits, _, _ = module(ids, jnp.asarray(pixels, dtype), kept)
    return np.asarray(logits).astype(np.float64)
