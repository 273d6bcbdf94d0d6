"""Attention in time linear in the length: low rank and projected. Twin: torch_impl/layers/efficient_attention.py."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jax_impl.layers.attention import attn_scaled, attn_softmax, compute_outputs, pairwise_similarities
from jax_impl.precision import at_least_float32
from shared.configs.validation import check_rank


def low_rank_attention(A: Float[Array, "*B T S"], V: Float[Array, "*B S d"], rank: int) -> Float[Array, "*B T d"]:
    """U (S (R^T V)), from the `rank` largest singular values S of A = U S R^T; the products cost O((T + S) rank d)."""
    check_rank(rank, min(A.shape[-2:]))
    left, values, right = jnp.linalg.svd(at_least_float32(A), full_matrices=False)
    mixed = values[..., :rank, None] * jnp.einsum("...ks,...sd->...kd", right[..., :rank, :], at_least_float32(V))
    return jnp.einsum("...tk,...kd->...td", left[..., :rank], mixed).astype(V.dtype)


def projected_attention(
    Q: Float[Array, "*B T d"],
    K: Float[Array, "*B S d"],
    V: Float[Array, "*B S e"],
    C: Float[Array, "k S"],
    D: Float[Array, "k S"],
    normalised: bool = True,
) -> Float[Array, "*B T e"]:
    """softmax(Q (C K)^T / sqrt(d)) D V: S keys and values become k (Linformer, Wang et al. 2020).

    Without the softmax, and without its scale, Q (C K)^T D V.
    """
    keys, values = jnp.einsum("ks,...sd->...kd", C, K), jnp.einsum("ks,...se->...ke", D, V)
    scores = pairwise_similarities(Q, keys)
    weights = attn_softmax(attn_scaled(scores, Q.shape[-1], 1)) if normalised else scores
    return compute_outputs(weights, values)
