"""Formulas of affine maps, tables of vectors and normalisation: (weights, constructor arguments, inputs) -> outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from crosscheck.twins.formulas.weights import Weights

Arguments = Mapping[str, Any]


def linear(w: Weights, a: Arguments, inputs: Tensor) -> Tensor:
    """y_o = sum over i of W_oi x_i, plus b_o."""
    return torch.einsum("oi,bti->bto", w["weight"], inputs) + w["bias"]


def embedding(w: Weights, a: Arguments, ids: Tensor) -> Tensor:
    """Row `ids` of the table; the row of the padding index is a constant."""
    vectors = torch.nn.functional.one_hot(ids, len(w["weight"])).to(w["weight"].dtype) @ w["weight"]
    is_padding = ids == (-1 if a.get("padding_idx") is None else a["padding_idx"])
    return torch.where(is_padding[..., None], vectors.detach(), vectors)


def positions(w: Weights, a: Arguments, x: Tensor) -> Tensor:
    """x_t + p_t."""
    return torch.stack([step + w["weight"][0, t] for t, step in enumerate(x.unbind(1))], 1)


def layer_norm(w: Weights, a: Arguments, inputs: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, eps 1e-5; the mean of a centred row is only rounding."""
    centred = inputs - inputs.mean(-1, keepdim=True)
    centred = centred - centred.mean(-1, keepdim=True)
    variance = torch.einsum("...h,...h->...", centred, centred)[..., None] / inputs.shape[-1]
    return centred * (variance + a.get("eps", 1e-5)) ** -0.5 * w["weight"] + w["bias"]
