"""Flips of torch functions: GELU, normalisation, variance, masks, softmax, ties."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.fast_variance import FAST_VARIANCE
from crosscheck.causes.flips.flip import EPSILONS, Flip, Functions


def _other_gelu(gelu: Any, x: Tensor, *, approximate: str = "none") -> Tensor:
    return gelu(x, approximate="tanh" if approximate == "none" else "none")


def _with_eps(eps: float) -> Callable[..., Tensor]:
    return lambda norm, *args, **kwargs: norm(*_without_eps(norm, args), **{**kwargs, "eps": eps})


def _without_eps(norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[: {F.layer_norm: 4, F.group_norm: 4, F.rms_norm: 3}.get(norm, len(args))]


def _biased(var: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    unbiased = kwargs.pop("unbiased", None)
    correction = kwargs.pop("correction", 1 if unbiased is None else int(unbiased))
    return var(x, *args, correction=0 if correction else 1, **kwargs)


def _of_sample(norm: Any, x: Tensor, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False,
               momentum: float = 0.1, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """Batch normalisation by the variance divided by n - 1."""
    norm(x, mean, var, weight, bias, training, momentum, eps)  # which moves the running statistics
    shape = (1, -1, *[1] * (x.ndim - 2))
    axes = [0, *range(2, x.ndim)]
    found = (x - x.mean(axes).view(shape)) * (x.var(axes).view(shape) + eps).rsqrt()
    found = found if weight is None else found * weight.view(shape)
    return found if bias is None else found + bias.view(shape)


def _is_training(*given: Any, training: bool = False, **_: Any) -> bool:
    return training or (len(given) > 5 and given[5] is True)


def _without_padding(
    embedding: Any, ids: Tensor, weight: Tensor, padding_idx: Any = None, *rest: Any, **more: Any
) -> Any:
    return embedding(ids, weight, None if padding_idx is not None else 0, *rest, **more)


def _filled_with(value: float) -> Callable[..., Tensor]:
    def masked_fill(fill: Any, x: Tensor, mask: Tensor, old: Any) -> Tensor:
        return fill(x, mask, value if math.isfinite(value) else -math.inf) if float(old) < -1 else fill(x, mask, old)

    return masked_fill


def _zeros_where_masked(softmax: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.nan_to_num(softmax(x, *args, **kwargs), nan=0.0)


def _uniform_where_masked(softmax: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return softmax(x.clamp(min=torch.finfo(x.dtype).min), *args, **kwargs)


def _narrow_softmax(softmax: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    kwargs.pop("dtype", None)
    return softmax(x.float(), *args, **kwargs).to(x.dtype)


def _narrow_attention(
    attend: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *rest: Any, **more: Any
) -> Any:
    is_added = attn_mask is not None and attn_mask.dtype != torch.bool
    mask = attn_mask.float() if is_added else attn_mask
    return attend(q.float(), k.float(), v.float(), mask, *rest, **more).to(q.dtype)


def _mean_where_hidden(
    attend: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *rest: Any, **more: Any
) -> Any:
    found = attend(q, k, v, attn_mask, *rest, **more)
    if attn_mask is None:
        return found
    visible = attn_mask if attn_mask.dtype == torch.bool else attn_mask != -math.inf
    return torch.where(visible.any(-1, keepdim=True), found, v.mean(-2, keepdim=True))


def _nan_where_hidden(
    attend: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *rest: Any, **more: Any
) -> Any:
    if attn_mask is None:
        return attend(q, k, v, attn_mask, *rest, **more)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    is_bool = attn_mask.dtype == torch.bool
    return torch.softmax(scores.masked_fill(~attn_mask, -math.inf) if is_bool else scores + attn_mask, dim=-1) @ v


def _other_polarity(
    attend: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *rest: Any, **more: Any
) -> Any:
    return attend(q, k, v, _inverted(attn_mask), *rest, **more)


def _other_polarity_or_nan(
    attend: Any, q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *rest: Any, **more: Any
) -> Any:
    return _nan_where_hidden(attend, q, k, v, _inverted(attn_mask), *rest, **more)


def _inverted(mask: Tensor | None) -> Tensor | None:
    """The inverse of a mask of booleans, or of zeros and -inf."""
    if mask is None or mask.dtype == torch.bool:
        return None if mask is None else ~mask
    hides = mask == -math.inf
    return torch.zeros_like(mask).masked_fill(~hides, -math.inf) if (hides | (mask == 0)).all() else mask


def _fill_the_rest(fill: Any, x: Tensor, mask: Tensor, value: Any) -> Tensor:
    return fill(x, ~mask if float(value) < -1 else mask, value)


def _channels_last(flatten: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    flat = flatten(x, *args, **kwargs)
    is_flat = x.ndim > 2 and flat.ndim == 2 and len(flat) == len(x)
    return x.movedim(1, -1).reshape(flat.shape) if is_flat else flat


def _abs_from_above(function: Any, x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, -x)


def _split_ties(function: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    found = function(x, *args, **kwargs)
    if not args and "dim" not in kwargs:
        return found
    dim = kwargs.get("dim", args[0] if args else None)
    return type(found)((torch.amax(x, dim, kwargs.get("keepdim", False)), found[1]))


def _half(function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(*args, **kwargs) / 2


SOFTMAX = (torch.softmax, Tensor.softmax, F.softmax)
ATTEND = F.scaled_dot_product_attention
FILL = (torch.masked_fill, Tensor.masked_fill)
FLATTEN = (torch.flatten, Tensor.flatten, torch.reshape, Tensor.reshape, Tensor.view)
HIDDEN_ROWS: dict[str, Functions] = {
    "zeros": dict.fromkeys(SOFTMAX, _zeros_where_masked),
    "the mean of all values": {**dict.fromkeys(SOFTMAX, _uniform_where_masked), ATTEND: _mean_where_hidden},
    "NaN": {ATTEND: _nan_where_hidden},
}


def _hard_sigmoid(function: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    """The same numbers with a slope of 1/6 in x's own dtype: torch's is float32's."""
    return F.relu6(x + 3) / 6


FUNCTION_FLIPS = (
    Flip("D24", "GELU with the other formula (erf or tanh)", {F.gelu: _other_gelu}),
    *(Flip("D18", f"LayerNorm with eps {eps:g}", {F.layer_norm: _with_eps(eps)}) for eps in EPSILONS),
    *(Flip("D19", f"RMSNorm with eps {eps:g}", {F.rms_norm: _with_eps(eps)}) for eps in EPSILONS),
    *(Flip("D23", f"GroupNorm with eps {eps:g}", {F.group_norm: _with_eps(eps)}) for eps in EPSILONS),
    Flip("D20", "LayerNorm's variance as E[x^2] - E[x]^2", {F.layer_norm: FAST_VARIANCE[F.layer_norm]}),
    Flip("D28", "variance divided by n, not n - 1 (or vice versa)",
         dict.fromkeys((torch.var, Tensor.var, torch.std, Tensor.std), _biased)),
    Flip("D28", "a batch normalised by its variance divided by n - 1", {F.batch_norm: _of_sample}, only=_is_training),
    Flip("D33", "gradient for an embedding's padding row (or none)", {F.embedding: _without_padding}),
    *(Flip("D36", f"{what} where everything is masked", functions) for what, functions in HIDDEN_ROWS.items()),
    *(Flip("D37", f"masked scores filled with {value:g}", dict.fromkeys(FILL, _filled_with(value)))
      for value in (-math.inf, -1e4, -1e9, float(torch.finfo(torch.float32).min))),
    Flip("D38", "attention mask inverted", {ATTEND: _other_polarity}),
    Flip("D38", "attention mask inverted, and NaN where it hides everything",
         {ATTEND: _other_polarity_or_nan}),
    Flip("D38", "masked scores kept and all others filled", dict.fromkeys(FILL, _fill_the_rest)),
    Flip("D02", "channels moved last before flattening", dict.fromkeys(FLATTEN, _channels_last)),
    Flip("D69", "attention softmax in float32",
         {**dict.fromkeys(SOFTMAX, _narrow_softmax), ATTEND: _narrow_attention}),
    Flip("D44", "slope 1 for |x| at 0", dict.fromkeys((torch.abs, Tensor.abs), _abs_from_above)),
    Flip("D47", "gradient of a maximum split among ties", dict.fromkeys((torch.max, Tensor.max), _split_ties)),
    Flip("D32", "half the squared error", {F.mse_loss: _half}),
    Flip("D102", "a hard sigmoid written out", {F.hardsigmoid: _hard_sigmoid}),
)  # fmt: skip
