"""Activations exchanged (a GELU may be written out), residuals forgotten, gradients stopped, clamps at their bound."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.causes.flips.flip import Flip
from crosscheck.causes.flips.mistakes.functions import (
    ADD,
    DIVIDE,
    MATMUL,
    MULTIPLY,
    SUBTRACT,
    is_floats,
    is_parameter,
)

ACTIVATIONS = (F.gelu, F.silu, F.relu, torch.relu, Tensor.relu, torch.tanh, Tensor.tanh, F.tanh, F.softplus, F.elu,
               F.leaky_relu, F.selu, F.mish, F.hardswish, F.relu6, F.hardtanh, torch.sigmoid, Tensor.sigmoid,
               F.sigmoid, F.celu, F.hardsigmoid)  # fmt: skip
TANH = (torch.tanh, Tensor.tanh, F.tanh)
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": F.silu,
    "exact GELU": F.gelu,
    "GELU by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "ReLU": F.relu,
    "tanh": torch.tanh,
    "ReLU6": F.relu6,
    "squared ReLU": lambda x: F.relu(x).square(),
    "leaky ReLU of slope 0.01": lambda x: F.leaky_relu(x, 0.01),
    "leaky ReLU of slope 0.2": lambda x: F.leaky_relu(x, 0.2),
    "leaky ReLU of slope 0.1": lambda x: F.leaky_relu(x, 0.1),
    "leaky ReLU of slope 0.3": lambda x: F.leaky_relu(x, 0.3),
    "ELU": F.elu,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "hard sigmoid": F.hardsigmoid,
    "hard swish": F.hardswish,
    "Mish": F.mish,
    "no activation": lambda x: x.clone(),
}


def _other(activation: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda function, x, *args, **kwargs: activation(x)


# GELU and its relatives are x (1 + f(x)) / 2; code that writes one out calls tanh, erf or a sigmoid of x

CUBIC, SLOPE = 0.044715, math.sqrt(2 / math.pi)
SHARES: dict[str, Callable[[Tensor], Tensor]] = {
    "exact GELU": lambda x: torch.erf(x * 2**-0.5),
    "GELU by tanh": lambda x: torch.tanh(SLOPE * (x + CUBIC * x**3)),
    "quick GELU": lambda x: 2 * torch.sigmoid(1.702 * x) - 1,
    "SiLU": lambda x: 2 * torch.sigmoid(x) - 1,
    "ReLU": torch.sign,
}
NEWTON_STEPS = 60  # derived: from the far end every step takes off a third, at least, until it converges


def _of_tanh(u: Tensor) -> Tensor:
    """The x of which u is sqrt(2/pi) (x + 0.044715 x^3), with its gradient."""
    u = u / SLOPE
    size = u.detach().abs()
    x = torch.minimum(size, (size / CUBIC) ** (1 / 3)) * u.detach().sign()
    for _ in range(NEWTON_STEPS):
        x = x - (x + CUBIC * x**3 - u.detach()) / (1 + 3 * CUBIC * x**2)
    return x - (x + CUBIC * x**3 - u) / (1 + 3 * CUBIC * x**2)


WRITTEN_OUT: dict[str, tuple[tuple[Any, ...], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "GELU by tanh": (TANH, _of_tanh, lambda share: share),
    "exact GELU": ((torch.erf, Tensor.erf), lambda v: v * 2**0.5, lambda share: share),
    "quick GELU": ((torch.sigmoid, Tensor.sigmoid, F.sigmoid), lambda v: v / 1.702, lambda share: (1 + share) / 2),
}  # its name: (the functions it calls, x from their operand, their result from f(x))


def _written_as(name: str, other: str) -> Flip:
    functions, x_of, result = WRITTEN_OUT[name]
    row = "D24" if {name, other} <= {"exact GELU", "GELU by tanh"} else "D89"
    share = SHARES[other]
    new = dict.fromkeys(functions, lambda function, v: result(share(x_of(v))))
    return Flip(row, f"{other} in place of a written-out {name}", new, only=is_floats)


def _capped(share: float) -> Callable[..., Tensor]:
    return lambda tanh, x: tanh(x * share) / share


def _joins(x: Any, other: Any = None, *_: Any, **__: Any) -> bool:
    """True for a sum of two results of one shape: a branch and its residual."""
    both = is_floats(x) and is_floats(other) and x.shape == other.shape and x.ndim > 1
    return both and not is_parameter(x) and not is_parameter(other)


OPERATIONS = (*ADD, *SUBTRACT, *MULTIPLY, *DIVIDE, *MATMUL, torch.pow, Tensor.pow, Tensor.__pow__, Tensor.square,
              torch.square, torch.cat, torch.where, torch.exp, Tensor.exp, torch.log, Tensor.log, torch.tanh,
              Tensor.tanh, F.embedding, F.linear, Tensor.mean, torch.mean, Tensor.sum, torch.sum)  # fmt: skip


def _stopped(function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(*args, **kwargs).detach()


def _stopped_weight(function: Any, x: Any, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(x, weight.detach(), *args, **kwargs)


def _stopped_first(function: Any, x: Any, *args: Any, **kwargs: Any) -> Tensor:
    return function(x.detach(), *args, **kwargs)


def _needs_gradient(x: Any, *_: Any, **__: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _split_at_bound(function: Any, x: Tensor, low: Any = None, high: Any = None, **kwargs: Any) -> Tensor:
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    x = x if low is None else torch.maximum(x, torch.as_tensor(low, dtype=x.dtype))
    return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))


ACTIVATION_FLIPS = (
    *(Flip("D89", f"{name} in place of the activation", dict.fromkeys(ACTIVATIONS, _other(activation)))
      for name, activation in OTHERS.items()),
    *(Flip("D81", f"a soft cap c tanh(x / c) {1 / share:.3g} times as high", dict.fromkeys(TANH, _capped(share)),
           only=is_floats) for share in (5 / 3, 3 / 5, 2.0, 0.5, 10.0, 0.1)),
    *(_written_as(name, other) for name in WRITTEN_OUT for other in SHARES if other != name),
    Flip("D88", "a sum without its first part (a residual forgotten)",
         dict.fromkeys(ADD, lambda add, x, other, **_: other.clone()), only=_joins),
    Flip("D88", "a sum without its second part (a residual forgotten)",
         dict.fromkeys(ADD, lambda add, x, other, **_: x.clone()), only=_joins),
    Flip("D46", "the gradient split where a value is at the bound of a clamp",
         dict.fromkeys((torch.clamp, Tensor.clamp, torch.clip, Tensor.clip), _split_at_bound)),
)  # fmt: skip
STOPPED_FLIPS = (
    Flip("D93", "a gradient let through that torch stops", {
        **dict.fromkeys((torch.detach, Tensor.detach), lambda detach, x: x),
        torch._C._set_grad_enabled: lambda set_enabled, is_enabled: None,
    }),
    Flip("D93", "a frozen weight or table", {F.embedding: _stopped_weight, F.linear: _stopped_weight}),
    Flip("D93", "a gradient stopped behind an operation", dict.fromkeys(OPERATIONS, _stopped)),
    Flip("D93", "a gradient stopped before an operation", dict.fromkeys(OPERATIONS, _stopped_first),
         only=_needs_gradient),
)  # fmt: skip
