"""Losses: how they are reduced and smoothed."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import is_floats

LOSSES = (F.cross_entropy, F.nll_loss, F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.kl_div,
          F.binary_cross_entropy, F.binary_cross_entropy_with_logits)  # fmt: skip


def _reduced(how: str) -> Callable[..., Tensor]:
    def loss(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if how == "per row":
            return function(x, *args, **{**kwargs, "reduction": "sum"}) / len(x)
        return function(x, *args, **{**kwargs, "reduction": how})

    return loss


def _smoothed(share: Callable[[float, int], float]) -> Callable[..., Tensor]:
    def loss(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        new = share(kwargs.get("label_smoothing", 0.0), x.shape[1 if x.ndim > 1 else 0])
        return function(x, *args, **{**kwargs, "label_smoothing": new})

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
LOSS_FLIPS = (
    *(Flip("D84", f"a loss {words}", dict.fromkeys(LOSSES, _reduced(how))) for how, words in REDUCTIONS.items()),
    *(Flip("D84", f"label smoothing {words}", {F.cross_entropy: _smoothed(share)}) for words, share in SHARES.items()),
    Flip("D84", "a sum in place of a mean", dict.fromkeys((torch.mean, Tensor.mean), lambda mean, x: x.sum()),
         only=_over_all),
    Flip("D84", "a mean in place of a sum", dict.fromkeys((torch.sum, Tensor.sum), lambda total, x: x.mean()),
         only=_over_all),
)  # fmt: skip
