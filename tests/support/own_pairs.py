"""Shared by the tests of users' own pairs: random weights and inputs, and a case of a pair with its mistakes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

from crosscheck.pairing.copy_weights import copy_weights
from crosscheck.pairing.renaming import Rules

Place = tuple[str, str]  # module at fault, phase


def normal(*shape: int) -> np.ndarray:
    """Normal numbers, the same for the same shape."""
    return np.random.default_rng(shape).standard_normal(shape)


def drawn(module: torch.nn.Module, dtype: str = "float64") -> torch.nn.Module:
    """The module with every parameter and running statistic redrawn, so that none stays at 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    return module.to(getattr(torch, dtype))


@dataclass(frozen=True)
class Case:
    """A torch module, its NNX port with keywords that each make one mistake, and where each must be found."""

    torch: Callable[[], torch.nn.Module]
    jax: Callable[..., nnx.Module]
    inputs: Any
    mistakes: Mapping[str, tuple[Any, Place]] = field(default_factory=dict)
    rules: Rules = field(default_factory=dict)

    def pair(self, dtype: str = "float64", **mistake: Any) -> tuple[torch.nn.Module, nnx.Module]:
        """Both modules with equal weights."""
        with jax.enable_x64(dtype == "float64"):
            module = drawn(self.torch(), dtype)
            return module, copy_weights(module, self.jax(rngs=nnx.Rngs(0), **mistake), self.rules)


def each(cases: Mapping[str, Case]) -> list[tuple[str, str]]:
    """Every case with every one of its mistakes, by name."""
    return [(name, mistake) for name, case in cases.items() for mistake in case.mistakes]
