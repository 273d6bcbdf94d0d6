"""Attention in time linear in the length: low rank and projected. Twin: jax_impl/layers/efficient_attention.py."""

import torch
from jaxtyping import Float
from torch import Tensor

from shared.configs.validation import check_rank
from torch_impl.layers.attention import attn_scaled, attn_softmax, compute_outputs, pairwise_similarities
from torch_impl.precision import at_least_float32


def low_rank_attention(A: Float[Tensor, "*B T S"], V: Float[Tensor, "*B S d"], rank: int) -> Float[Tensor, "*B T d"]:
    """U (S (R^T V)), from the `rank` largest singular values S of A = U S R^T; the products cost O((T + S) rank d)."""
    check_rank(rank, min(A.shape[-2:]))
    left, values, right = torch.linalg.svd(at_least_float32(A), full_matrices=False)
    mixed = values[..., :rank, None] * torch.einsum("...ks,...sd->...kd", right[..., :rank, :], at_least_float32(V))
    return torch.einsum("...tk,...kd->...td", left[..., :rank], mixed).to(V.dtype)


def projected_attention(
    Q: Float[Tensor, "*B T d"],
    K: Float[Tensor, "*B S d"],
    V: Float[Tensor, "*B S e"],
    C: Float[Tensor, "k S"],
    D: Float[Tensor, "k S"],
    normalised: bool = True,
) -> Float[Tensor, "*B T e"]:
    """softmax(Q (C K)^T / sqrt(d)) D V: S keys and values become k (Linformer, Wang et al. 2020).

    Without the softmax, and without its scale, Q (C K)^T D V.
    """
    keys, values = torch.einsum("ks,...sd->...kd", C, K), torch.einsum("ks,...se->...ke", D, V)
    scores = pairwise_similarities(Q, keys)
    weights = attn_softmax(attn_scaled(scores, Q.shape[-1], 1)) if normalised else scores
    return compute_outputs(weights, values)
