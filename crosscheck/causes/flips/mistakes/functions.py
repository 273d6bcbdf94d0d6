"""The torch functions that flips of mistakes replace, and what their arguments reveal."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ADD = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
SUBTRACT = (torch.sub, Tensor.sub, Tensor.__sub__)
MULTIPLY = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)
DIVIDE = (torch.div, Tensor.div, Tensor.__truediv__)
MATMUL = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm)
SOFTMAX = (torch.softmax, Tensor.softmax, F.softmax)
FILL = (torch.masked_fill, Tensor.masked_fill)
CONV = (F.conv1d, F.conv2d, F.conv3d)
RESHAPE = (torch.reshape, Tensor.reshape, Tensor.view)
HIDING = -1e3  # derived: exp of this is 0 even in float64


def is_number(value: Any) -> bool:
    """True for a finite number of Python, or a tensor without axes."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and value.is_floating_point()
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_floats(value: Any) -> bool:
    """True for a tensor of floats with axes."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def is_parameter(value: Any) -> bool:
    """True for a tensor that is trained."""
    return isinstance(value, Tensor) and value.is_leaf and value.requires_grad


def is_vector_parameter(value: Any) -> bool:
    """True for a trained vector, such as a norm's weight."""
    return is_parameter(value) and value.ndim == 1


def is_additive_mask(value: Any) -> bool:
    """True for a tensor of zeros and of numbers that hide a score."""
    if not is_floats(value) or value.ndim < 2:
        return False
    return bool(((value == 0) | (value <= HIDING)).all()) and bool((value <= HIDING).any())


def is_mask(value: Any) -> bool:
    """True for an additive mask or one of booleans."""
    return isinstance(value, Tensor) and value.ndim > 1 and (value.dtype == torch.bool or is_additive_mask(value))
