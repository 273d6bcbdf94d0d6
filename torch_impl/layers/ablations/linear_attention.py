"""Causal attention without a matrix of scores: attention free, and by random features.
Twin: jax_impl/layers/ablations/linear_attention.py.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared.configs.gpt import GPTConfig
from shared.initial_weights import orthogonal_directions
from torch_impl.layers.attention import visible_keys
from torch_impl.layers.small_normal import NormalEmbedding
from torch_impl.precision import at_least_float32

FEATURES = 4  # of random features, times the width of a head
FLOOR = 1e-6  # of a feature, so that no sum of features is 0


class AttentionFree(nn.Module):
    """sigmoid(q) times the mean of the visible values, weighted by exp(k + w): AFT-full (Zhai et al. 2021).

    w is learned for each pair of positions. A key that is 88 above the first overflows in float32.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.pair_embedding = NormalEmbedding(config.sequence_length, config.sequence_length)

    def forward(
        self,
        queries: Float[Tensor, "B m T d"],
        keys: Float[Tensor, "B m S d"],
        values: Float[Tensor, "B m S d"],
        positions: Int[Tensor, "C T"],
    ) -> Float[Tensor, "B m T d"]:
        powers, n_keys = powers_of(keys), keys.shape[2]
        biases = at_least_float32(self.pair_embedding(positions))[:, None, :, :n_keys]
        factors = torch.where(visible_keys(positions, n_keys), torch.exp(biases - biases[..., :1]), 0.0)
        sums, totals = (torch.einsum("...ts,...sd->...td", factors, x) for x in (powers * values, powers))
        return gated(queries, sums / totals)


class SimpleAttentionFree(nn.Module):
    """The same without w, in time linear in the length: AFT-simple."""

    def __init__(self, config: GPTConfig):
        super().__init__()

    def forward(
        self,
        queries: Float[Tensor, "B m T d"],
        keys: Float[Tensor, "B m S d"],
        values: Float[Tensor, "B m S d"],
        positions: Int[Tensor, "C T"],
    ) -> Float[Tensor, "B m T d"]:
        powers = powers_of(keys)
        sums, totals = (sums_until(x, positions) for x in (powers * values, powers))
        return gated(queries, sums / totals)


class RandomFeatureAttention(nn.Module):
    """Softmax attention whose exp(q k / sqrt(d)) is a product of positive random features, in linear time.

    FAVOR+ (Choromanski et al. 2021), which approaches it with the number of features.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()

    def forward(
        self,
        queries: Float[Tensor, "B m T d"],
        keys: Float[Tensor, "B m S d"],
        values: Float[Tensor, "B m S d"],
        positions: Int[Tensor, "C T"],
    ) -> Float[Tensor, "B m T d"]:
        directions = orthogonal_directions(FEATURES * keys.shape[-1], keys.shape[-1])
        return favor_attention(queries, keys, values, positions, torch.tensor(directions, device=keys.device))


def favor_attention(
    queries: Float[Tensor, "B m T d"],
    keys: Float[Tensor, "B m S d"],
    values: Float[Tensor, "B m S d"],
    positions: Int[Tensor, "C T"],
    directions: Float[Tensor, "r d"],
) -> Float[Tensor, "B m T d"]:
    """Each value weighted by the product of its key's features and the query's, over their sum."""
    of_queries, of_keys = positive_features(queries, directions), positive_features(keys, directions)
    products = torch.einsum("bmsr,bmsd->bmsrd", of_keys, at_least_float32(values))
    sums = sums_until(products.reshape(*keys.shape[:3], -1), positions)
    sums = sums.reshape(*queries.shape[:3], *products.shape[-2:])
    totals = torch.einsum("bmtr,bmtr->bmt", of_queries, sums_until(of_keys, positions))
    return (torch.einsum("bmtr,bmtrd->bmtd", of_queries, sums) / totals[..., None]).to(values.dtype)


def positive_features(x: Float[Tensor, "*B d"], directions: Float[Tensor, "r d"]) -> Float[Tensor, "*B r"]:
    """exp(w y - y^2 / 2) with y = x / d^(1/4) for every direction w: a product has the mean exp(x z / sqrt(d))."""
    scaled = at_least_float32(x) / x.shape[-1] ** 0.25
    along = torch.einsum("...d,rd->...r", scaled, directions.to(scaled.dtype))
    return torch.exp(along - (scaled**2).sum(-1, keepdim=True) / 2) + FLOOR


def powers_of(keys: Float[Tensor, "B m S d"]) -> Float[Tensor, "B m S d"]:
    """exp(k) over that of the first key, which every query sees, so that no sum is below 1."""
    wide = at_least_float32(keys)
    return torch.exp(wide - wide[:, :, :1])


def sums_until(x: Float[Tensor, "B m S e"], positions: Int[Tensor, "C T"]) -> Float[Tensor, "B m T e"]:
    """At each position, the sum of what is there and before."""
    return torch.take_along_dim(torch.cumsum(x, dim=2), positions[:, None, :, None].long(), dim=2)


def gated(queries: Float[Tensor, "B m T d"], means: Float[Tensor, "B m T d"]) -> Float[Tensor, "B m T d"]:
    """Means times the sigmoid of queries."""
    return (torch.sigmoid(at_least_float32(queries)) * means).to(queries.dtype)
