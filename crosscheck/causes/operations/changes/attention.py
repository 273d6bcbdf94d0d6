"""Attention with something else in the place of its softmax over the keys, written out."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.operations.operation import Operation
from crosscheck.causes.operations.region import Region

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "a softmax over the queries": lambda scores: scores.softmax(-2),
    "a softmax over the heads": lambda scores: scores.softmax(1),
    "a sigmoid of the scores": torch.sigmoid,
    "the scores themselves": lambda scores: scores,
    "the positive scores": F.relu,
    "a softmax of the scores' own transpose": lambda scores: scores.mT.softmax(-1),
    "a softmax with a zero among the scores": lambda scores: F.pad(scores, (0, 1)).softmax(-1)[..., :-1],
}


def attention(operation: Operation, region: Region) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Attention by each of the other weights."""
    if operation.function is F.scaled_dot_product_attention:
        for what, weights in WEIGHTS.items():
            yield "D99", f"{operation.words} by {what}", _by(weights)


def _by(weights: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def attend(
        function: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, **_: Any,
    ) -> Tensor:  # fmt: skip
        scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return weights(scores) @ v

    return attend
