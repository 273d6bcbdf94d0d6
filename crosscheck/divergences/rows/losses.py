"""Rows D30 to D33: what a loss ignores or divides by, and whose gradient it drops."""

import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import draw, largest_gap, measurement


@measurement()
def _ignored_label() -> float:
    logits, labels = draw(3, 4), np.array([1, -100, 2])
    ours = F.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    return largest_gap(ours, optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean())


@measurement()
def _class_weights() -> float:
    logits, labels, weights = draw(6, 3), np.array([0, 1, 2, 1, 2, 2]), np.array([1.0, 2.0, 4.0])
    ours = F.cross_entropy(torch.tensor(logits), torch.tensor(labels), weight=torch.tensor(weights))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return largest_gap(ours, (weights[labels] * losses).mean())


@measurement()
def _squared_error() -> float:
    predictions, targets = np.array([3.0]), np.array([1.0])
    ours = F.mse_loss(torch.tensor(predictions), torch.tensor(targets))
    return largest_gap(ours, optax.l2_loss(predictions, targets).mean())


@measurement()
def _padding_row() -> float:
    ids = np.array([0, 3, 0, 1])
    ours = nn.Embedding(5, 2, padding_idx=0).double()
    ours(torch.tensor(ids)).sum().backward()
    theirs = nnx.Embed(5, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    gradient = nnx.grad(lambda embed: embed(ids).sum())(theirs)
    return largest_gap(ours.weight.grad, gradient["embedding"][...])


LOSSES = (
    KnownDivergence(
        id="D30",
        name="ce-ignore-index",
        trigger="labels of -100: torch excludes them from the mean, optax indexes a class that does not exist",
        predicted=float("nan"),
        size_of="absolute difference between the mean losses of three labels, one of them -100 (NaN in optax)",
        measure=_ignored_label,
        source="torch.nn.CrossEntropyLoss and optax documentation",
        to_torch="kept = labels != -100; losses of jnp.where(kept, labels, 0), then losses.mean(where=kept)",
        to_jax="F.cross_entropy(logits[kept], labels[kept]): drop the ignored labels on both sides",
    ),
    KnownDivergence(
        id="D31",
        name="ce-class-weights",
        trigger="weighted classes: torch divides by the sum of the weights, a mean of weighted losses by their count",
        predicted=2.69,
        size_of="absolute difference between the mean losses of six labels with class weights 1, 2, 4",
        measure=_class_weights,
        source="torch.nn.CrossEntropyLoss documentation",
        to_torch="(w[labels] * losses).sum() / w[labels].sum()",
        to_jax='F.cross_entropy(logits, labels, weight=w, reduction="none").mean()',
    ),
    KnownDivergence(
        id="D32",
        name="l2-loss",
        trigger="optax.l2_loss in place of torch's mse_loss: it is half as large",
        predicted=2.0,
        size_of="absolute difference between the losses for an error of 2 (4.0 in torch, 2.0 in optax)",
        measure=_squared_error,
        source="optax.l2_loss and torch.nn.MSELoss documentation",
        to_torch="optax.squared_error(predictions, targets).mean()",
        to_jax="F.mse_loss(predictions, targets) / 2",
    ),
    KnownDivergence(
        id="D33",
        name="padding-idx",
        trigger="training an embedding with padding_idx: torch keeps that row's gradient at zero, Flax does not",
        predicted=2.0,
        size_of="largest absolute difference in the gradients of a sum over four ids, two of them padding",
        measure=_padding_row,
        source="torch.nn.Embedding and flax.nnx.Embed documentation",
        to_torch="x = embed(ids); x = jnp.where((ids == padding_idx)[..., None], jax.lax.stop_gradient(x), x)",
        to_jax="nn.Embedding(n, width) without padding_idx, with that row zeroed once",
    ),
)
