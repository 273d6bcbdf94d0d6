"""Optimisers with one change, in torch."""

from typing import Any


def adamw(
    weights: Any, gradients: Any, means: Any, squares: Any, variant: str, state_steps: Any, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, **_: Any,
) -> None:  # fmt: skip
    """In-place AdamW in torch, but with "L2" decay, with "eps inside" the root, or with biases "spared" from decay."""
    for w, g, m, v, before in zip(weights, gradients, means, squares, state_steps, strict=True):
        step = float(before) + 1
        g = g + weight_decay * w if variant == "L2" else g
        decay = 0.0 if variant == "L2" or (variant == "spared" and w.ndim < 2) else weight_decay
        m.mul_(beta1).add_((1 - beta1) * g)
        v.mul_(beta2).add_((1 - beta2) * g * g)
        square = v / (1 - beta2**step)
        root = (square + eps).sqrt() if variant == "eps inside" else square.sqrt() + eps
        w.sub_(lr * (m / (1 - beta1**step) / root + decay * w))


def rooted(
    weights: Any, gradients: Any, squares: Any, lr: float, eps: float, weight_decay: float, alpha: float | None = None,
    **_: Any,
) -> None:  # fmt: skip
    """In-place RMSprop in torch, or Adagrad without `alpha`, but with eps inside the root."""
    kept, added = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    for w, g, s in zip(weights, gradients, squares, strict=True):
        g = g + weight_decay * w
        s.mul_(kept).add_(added * g * g)
        w.sub_(lr * g / (s + eps).sqrt())
