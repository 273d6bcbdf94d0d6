"""Known defaults that can be flipped in any torch module, one at a time: what JAX would do in its place, as data.

A flip changes functions of torch while the module runs, attributes of its layers, its weights, or its inputs.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from crosscheck.values import Arrays

Functions = dict[Callable[..., Any], Callable[..., Any]]  # torch's function -> replacement(original, *args, **kwargs)
EPSILONS = (1e-5, 1e-6, 1e-12, 1e-3, 1e-8)  # defaults of torch, Flax, BERT, Keras, and of optimisers
NORMS = {"RMSNorm": "D19", "GroupNorm": "D23", "BatchNorm": "D23"}  # LayerNorm and all others: D18


@dataclass(frozen=True)
class Flip:
    """One flip: the row of the catalogue, what is done in words, and the change.

    `layers` changes a copy of the module and says whether it found anything to change; `weights` permutes arrays by
    name and `undo` permutes their gradients back; `inputs` changes one array of the call by name.
    """

    divergence: str
    what: str
    functions: Functions = field(default_factory=dict)
    layers: Callable[[nn.Module], bool] | None = None
    weights: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    undo: Callable[[str, np.ndarray], np.ndarray | None] | None = None
    inputs: Callable[[str, np.ndarray], np.ndarray | None] | None = None


class Replaced(TorchFunctionMode):
    """In this context torch's functions are replaced, also those that modules call; `used` says whether any was."""

    def __init__(self, functions: Functions):
        super().__init__()
        self.functions = functions
        self.used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replacement = self.functions.get(func)
        if func is F.multi_head_attention_forward:  # made of other functions, which are looked for in turn
            with mock.patch.object(F, "has_torch_function", return_value=False), self:
                return func(*args, **(kwargs or {}))
        if replacement is None:
            return func(*args, **(kwargs or {}))
        self.used = True
        return replacement(func, *args, **(kwargs or {}))


# Functions


def _other_gelu(gelu: Any, x: Tensor, *, approximate: str = "none") -> Tensor:
    return gelu(x, approximate="tanh" if approximate == "none" else "none")


def _with_eps(eps: float) -> Callable[..., Tensor]:
    return lambda norm, *args, **kwargs: norm(*_without_eps(norm, args), **{**kwargs, "eps": eps})


def _without_eps(norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[: {F.layer_norm: 4, F.group_norm: 4, F.rms_norm: 3}.get(norm, len(args))]


def _fast_variance(norm: Any, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    variance = ((x * x).mean(axes, keepdim=True) - mean * mean).clamp(min=0)
    normed = (x - mean) * torch.rsqrt(variance + eps)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def _biased(var: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    unbiased = kwargs.pop("unbiased", None)
    correction = kwargs.pop("correction", 1 if unbiased is None else int(unbiased))
    return var(x, *args, correction=0 if correction else 1, **kwargs)


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
    inverted = ~attn_mask if attn_mask is not None and attn_mask.dtype == torch.bool else attn_mask
    return attend(q, k, v, inverted, *rest, **more)


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
HIDDEN_ROWS: dict[str, Functions] = {
    "zeros": dict.fromkeys(SOFTMAX, _zeros_where_masked),
    "the mean of all values": {**dict.fromkeys(SOFTMAX, _uniform_where_masked), ATTEND: _mean_where_hidden},
    "NaN": {ATTEND: _nan_where_hidden},
}
FUNCTION_FLIPS = (
    Flip("D24", "GELU by the other formula (erf or tanh)", {F.gelu: _other_gelu}),
    *(Flip("D18", f"LayerNorm with eps {eps:g}", {F.layer_norm: _with_eps(eps)}) for eps in EPSILONS),
    *(Flip("D19", f"RMSNorm with eps {eps:g}", {F.rms_norm: _with_eps(eps)}) for eps in EPSILONS),
    *(Flip("D23", f"GroupNorm with eps {eps:g}", {F.group_norm: _with_eps(eps)}) for eps in EPSILONS),
    Flip("D20", "LayerNorm's variance as E[x^2] - E[x]^2", {F.layer_norm: _fast_variance}),
    Flip("D28", "variance divided by n, not n - 1 (or the reverse)",
         dict.fromkeys((torch.var, Tensor.var, torch.std, Tensor.std), _biased)),
    Flip("D33", "the padding row of an embedding with a gradient (or without)", {F.embedding: _without_padding}),
    *(Flip("D36", f"{what} where everything is masked", functions) for what, functions in HIDDEN_ROWS.items()),
    *(Flip("D37", f"masked scores filled with {value:g}", dict.fromkeys(FILL, _filled_with(value)))
      for value in (-math.inf, -1e4, -1e9, float(torch.finfo(torch.float32).min))),
    Flip("D38", "the mask of attention the other way round", {ATTEND: _other_polarity}),
    Flip("D69", "the softmax of attention in float32",
         {**dict.fromkeys(SOFTMAX, _narrow_softmax), ATTEND: _narrow_attention}),
    Flip("D44", "the slope of |x| at 0 is 1", dict.fromkeys((torch.abs, Tensor.abs), _abs_from_above)),
    Flip("D47", "the gradient of a maximum split among ties", dict.fromkeys((torch.max, Tensor.max), _split_ties)),
    Flip("D32", "half the squared error", {F.mse_loss: _half}),
)  # fmt: skip


# Layers


def _set_eps(eps: float, row: str) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        found = False
        for layer in module.modules():
            kind = next((d for name, d in NORMS.items() if name in type(layer).__name__), "D18")
            for name in ("eps", "epsilon", "variance_epsilon"):
                if kind == row and isinstance(getattr(layer, name, None), float) and getattr(layer, name) != eps:
                    setattr(layer, name, eps)
                    found = True
        return found

    return change


def _toggle(name: str, values: tuple[Any, Any]) -> Callable[[nn.Module], bool]:
    def change(module: nn.Module) -> bool:
        having = [layer for layer in module.modules() if hasattr(layer, name) and getattr(layer, name) in values]
        for layer in having:
            setattr(layer, name, values[1 - values.index(getattr(layer, name))])
        return bool(having)

    return change


LAYER_FLIPS = (
    *(
        Flip(row, f"{norm} with eps {eps:g}", layers=_set_eps(eps, row))
        for row, norm in (("D18", "normalisation"), ("D19", "RMSNorm"), ("D23", "group or batch normalisation"))
        for eps in EPSILONS
    ),
    Flip(
        "D33", "the padding row of an embedding with a gradient (or without)", layers=_toggle("padding_idx", (0, None))
    ),
)


# Weights


def _square(name: str, array: np.ndarray) -> np.ndarray | None:
    return array.T if array.ndim == 2 and array.shape[0] == array.shape[1] else None


def _gates(order: tuple[int, ...], only: str = "") -> Callable[[str, np.ndarray], np.ndarray | None]:
    def change(name: str, array: np.ndarray) -> np.ndarray | None:
        if only not in name or array.ndim not in (1, 2) or len(array) % len(order) or len(array) <= len(order):
            return None
        parts = np.split(array, len(order))
        return np.concatenate([parts[index] for index in order])

    return change


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(index) for index in range(len(order)))


def _without_candidate_bias(name: str, array: np.ndarray) -> np.ndarray | None:
    """The last third of a GRU's hidden bias as zeros."""
    if not (name.endswith("hidden_proj.bias") or "bias_hh" in name) or len(array) % 3:
        return None
    return np.concatenate([array[: -len(array) // 3], np.zeros_like(array[-len(array) // 3 :])])


GATE_ORDERS = [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
WEIGHT_FLIPS = (
    Flip("D01", "square kernels transposed", weights=_square, undo=_square),
    *(
        Flip("D03", f"gates stacked in the order {order}", weights=_gates(order), undo=_gates(_inverse(order)))
        for order in GATE_ORDERS
    ),
    Flip("D04", "no hidden bias in the candidate", weights=_without_candidate_bias, undo=_without_candidate_bias),
)


# Inputs


def _inverted(name: str, array: np.ndarray) -> np.ndarray | None:
    return ~array if array.dtype == np.bool_ else None


INPUT_FLIPS = (
    Flip("D38", "boolean masks the other way round", inputs=_inverted),
    *(  # a mask of no padding hides everything then
        Flip("D38", f"boolean masks the other way round, and {what} where they hide all", functions, inputs=_inverted)
        for what, functions in HIDDEN_ROWS.items()
    ),
)
FLIPS = (*FUNCTION_FLIPS, *LAYER_FLIPS, *WEIGHT_FLIPS, *INPUT_FLIPS)


def layouts_between(ours: np.ndarray, theirs: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str]]:
    """Every known layout (row of the catalogue, words) that turns torch's array into JAX's."""
    for row, what, changed in _other_layouts(ours, heads):
        if changed.shape == theirs.shape and np.array_equal(changed, theirs):
            yield row, what


def _other_layouts(array: np.ndarray, heads: list[int]) -> Iterator[tuple[str, str, np.ndarray]]:
    if array.ndim == 2:
        yield "D01", "the kernel is transposed", array.T
        yield "D01", "the kernel is reshaped, not transposed", array.reshape(array.shape[::-1]).T
        yield "D01", "the kernel is reshaped, not transposed", array.T.reshape(array.shape)
        yield "D33", "the padding row is zero", np.concatenate([np.zeros_like(array[:1]), array[1:]])
    if array.ndim > 1:
        axis = array.ndim - 2
        yield "D35", "positions stand one place later", np.roll(array, 1, axis)
        yield "D35", "positions stand one place earlier", np.roll(array, -1, axis)
    if array.dtype == np.float64:
        yield "D53", "the numbers went through float32", array.astype(np.float32).astype(np.float64)
    if array.ndim == 1 and len(array) % 3 == 0:
        yield (
            "D04",
            "the hidden bias of the candidate is gone",
            np.concatenate([array[: -len(array) // 3], np.zeros(len(array) // 3, array.dtype)]),
        )
        yield "D04", "the bias is gone", np.zeros_like(array)
    if array.ndim > 2:
        for order in itertools.permutations(range(array.ndim)):
            yield "D02", f"the kernel's axes are in the order {order}", array.transpose(order)
    for order in GATE_ORDERS:
        changed = _gates(order)("", array)
        if changed is not None:
            yield "D03", f"the gates are stacked in the order {order}", changed
    for number in heads:
        if array.ndim and len(array) % number == 0:
            parts = array.reshape(number, len(array) // number, *array.shape[1:])
            yield (
                "D09",
                "the heads stand inside each dimension, not around it",
                parts.swapaxes(0, 1).reshape(array.shape),
            )
            if len(array) // number % 2 == 0:
                pairs = parts.reshape(number, -1, 2, *array.shape[1:])
                yield "D11", "rotary pairs are interleaved", pairs.swapaxes(1, 2).reshape(array.shape)


def heads_of(module: Any) -> list[int]:
    """Numbers of heads that the module's layers speak of."""
    names = ("num_heads", "n_heads", "heads", "n_head", "nhead")
    layers = list(module.modules()) if isinstance(module, nn.Module) else []
    found = {getattr(layer, name) for layer in layers for name in names if isinstance(getattr(layer, name, None), int)}
    return sorted(found)


def changed_weights(arrays: Arrays, flip: Flip) -> Arrays:
    """The arrays that the flip changes, changed."""
    found = {name: flip.weights(name, array) for name, array in arrays.items()} if flip.weights else {}
    return {name: array for name, array in found.items() if array is not None}
