"""Losses: how they are reduced and smoothed, what they ignore, and one in place of another."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import is_floats

LOSSES = (F.cross_entropy, F.nll_loss, F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.kl_div,
          F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.ctc_loss, F.triplet_margin_loss,
          F.margin_ranking_loss, F.cosine_embedding_loss, F.hinge_embedding_loss, F.soft_margin_loss,
          F.multi_margin_loss, F.multilabel_margin_loss, F.multilabel_soft_margin_loss, F.poisson_nll_loss,
          F.gaussian_nll_loss)  # fmt: skip
NO_LABEL = -(2**40)


def _reduced(how: str) -> Callable[..., Tensor]:
    def loss(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if how == "per row":
            return function(x, *args, **{**kwargs, "reduction": "sum"}) / x.shape[1 if function is F.ctc_loss else 0]
        return function(x, *args, **{**kwargs, "reduction": how})

    return loss


def _smoothed(share: Callable[[float, int], float]) -> Callable[..., Tensor]:
    def loss(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        new = share(kwargs.get("label_smoothing", 0.0), x.shape[1 if x.ndim > 1 else 0])
        return function(x, *args, **{**kwargs, "label_smoothing": new})

    return loss


def _ignored_as_zero(function: Any, x: Tensor, labels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The mean over all labels, those to ignore included, whose losses are 0."""
    return function(x, labels, *args, **{**kwargs, "reduction": "sum"}) / labels.numel()


def _none_ignored(function: Any, x: Tensor, labels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(x, labels, *args, **{**kwargs, "ignore_index": NO_LABEL})


def _has_ignored(x: Any, labels: Any = None, *args: Any, ignore_index: int = -100, **_: Any) -> bool:
    is_labels = isinstance(labels, Tensor) and not labels.is_floating_point()
    return is_labels and bool((labels == ignore_index).any())


def _weights_counted(function: Any, x: Tensor, labels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Weighted losses averaged by their number, not by the sum of their weights."""
    return function(x, labels, *args, **{**kwargs, "reduction": "sum"}) / labels.numel()


def _is_weighted(x: Any, labels: Any = None, weight: Any = None, *_: Any, **__: Any) -> bool:
    return isinstance(labels, Tensor) and weight is not None


def _bend(kwargs: dict[str, Any]) -> float:
    return float(kwargs.get("beta", kwargs.get("delta", 1.0)))


def _other_loss(other: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def loss(function: Any, x: Tensor, y: Tensor, *_: Any, reduction: str = "mean", **kwargs: Any) -> Tensor:
        return other(x, y, _bend(kwargs), reduction)

    return loss


def _over_all(x: Any, *args: Any, **kwargs: Any) -> bool:
    return is_floats(x) and not args and "dim" not in kwargs


REDUCTIONS = {"mean": "averaged", "sum": "summed", "per row": "summed and divided by the number of rows"}
SHARES: dict[str, Callable[[float, int], float]] = {
    "shared among the K - 1 other labels": lambda s, k: s * k / (k - 1),
    "shared among all K labels": lambda s, k: s * (k - 1) / k,
    "left out": lambda s, k: 0.0,
    "of 0.1": lambda s, k: 0.1,
}
DISTANCES = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
OTHERS: dict[str, Callable[..., Tensor]] = {
    "Huber's loss": lambda x, y, bend, how: F.huber_loss(x, y, delta=bend, reduction=how),
    "the smooth L1 loss": lambda x, y, bend, how: F.smooth_l1_loss(x, y, beta=bend, reduction=how),
    "Huber's loss, bent at 1": lambda x, y, bend, how: F.huber_loss(x, y, reduction=how),
    "the squared error": lambda x, y, bend, how: F.mse_loss(x, y, reduction=how),
    "the absolute error": lambda x, y, bend, how: F.l1_loss(x, y, reduction=how),
}
LOSS_FLIPS = (
    Flip("D30", "labels to be ignored counted in the mean", {F.cross_entropy: _ignored_as_zero,
                                                             F.nll_loss: _ignored_as_zero}, only=_has_ignored),
    Flip("D30", "no label ignored", {F.cross_entropy: _none_ignored, F.nll_loss: _none_ignored}, only=_has_ignored),
    Flip("D31", "weighted losses averaged by their number", {F.cross_entropy: _weights_counted,
                                                             F.nll_loss: _weights_counted}, only=_is_weighted),
    *(Flip("D84", f"{words} in place of the loss", dict.fromkeys(DISTANCES, _other_loss(other)))
      for words, other in OTHERS.items()),
    *(Flip("D84", f"a loss {words}", dict.fromkeys(LOSSES, _reduced(how))) for how, words in REDUCTIONS.items()),
    *(Flip("D84", f"label smoothing {words}", {F.cross_entropy: _smoothed(share)}) for words, share in SHARES.items()),
    Flip("D84", "a sum in place of a mean", dict.fromkeys((torch.mean, Tensor.mean), lambda mean, x: x.sum()),
         only=_over_all),
    Flip("D84", "a mean in place of a sum", dict.fromkeys((torch.sum, Tensor.sum), lambda total, x: x.mean()),
         only=_over_all),
)  # fmt: skip
