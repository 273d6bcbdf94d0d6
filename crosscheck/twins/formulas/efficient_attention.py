"""Formulas of attention in linear time."""

import math

import torch
from torch import Tensor

from crosscheck.twins.formulas.layers import Arguments
from crosscheck.twins.formulas.weights import Weights


def low_rank_attention(w: Weights, a: Arguments, A: Tensor, V: Tensor) -> Tensor:
    """A R R^T V, R the eigenvectors of A^T A that belong to the `rank` largest eigenvalues."""
    _, vectors = torch.linalg.eigh(A.mT @ A)
    R = vectors[..., -a["rank"] :]
    return A @ (R @ (R.mT @ V))


def projected_attention(w: Weights, a: Arguments, Q: Tensor, K: Tensor, V: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Scores against each of the k mixtures of keys, then the weighted sum of the mixtures of values."""
    keys = torch.stack([(row[:, None] * K).sum(-2) for row in C], -2)
    values = torch.stack([(row[:, None] * V).sum(-2) for row in D], -2)
    scores = torch.stack([(Q * key[:, None]).sum(-1) for key in keys.unbind(-2)], -1)
    if a.get("normalised", True):
        powers = torch.exp(scores / math.sqrt(Q.shape[-1]) - (scores / math.sqrt(Q.shape[-1])).detach().amax(-1, True))
        scores = powers / powers.sum(-1, keepdim=True)
    return sum(scores[..., k, None] * values[:, k, None] for k in range(len(C)))  # type: ignore[return-value]
