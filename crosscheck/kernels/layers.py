"""Random GRU layers, run by the kernel and by PyTorch's own GRU in float64, and judged by the noise of their dtype."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from crosscheck.criterion import NOISE_RATIO, SPREAD
from torch_impl.layers.fused_gru import fused_gru
from torch_impl.layers.linear import Linear
from torch_impl.layers.persistent_gru import persistent_gru

ARGUMENTS = ("projected", "initial", "weight", "bias")
GIVEN = (*ARGUMENTS, "d_outputs", "d_final")
# Numbers in a layer, and in a result, of which one draw says little, and how many draws it gets.
FEW, FEW_IN_A_RESULT, DRAWS = 10_000, 100, 12
Results = dict[str, Tensor]


class Sizes(NamedTuple):
    """Of a layer; `dtype` by its name."""

    batch_size: int
    steps: int
    directions: int
    hidden_size: int
    dtype: str

    def __str__(self) -> str:
        return f"B{self.batch_size} T{self.steps} D{self.directions} H{self.hidden_size} {self.dtype}"


@dataclass(frozen=True)
class Case:
    """A layer to be drawn: `keep` as in `random_layer`, and the results that are judged, all if none is named."""

    sizes: Sizes
    keep: float = 0.0
    judged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    """What the kernel reads: W_i x (B, T, D, 3H), states (D, B, H), weights (D, 3H, H), biases (D, 4H) in float32,
    lengths (B,), and the gradients of outputs (B, T, D, H) and final states.
    """

    projected: Tensor
    initial: Tensor
    weight: Tensor
    bias: Tensor
    lengths: Tensor
    d_outputs: Tensor
    d_final: Tensor


def random_layer(sizes: Sizes, seed: int, device: str, keep: float = 0.0) -> Layer:
    """Lengths from 0 to T. `keep` is added to the biases of the update gate: a state lasts for some e**keep steps."""
    generator = torch.Generator(device).manual_seed(seed)
    batch_size, steps, directions, hidden_size, name = sizes

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).to(getattr(torch, name))

    bias = torch.randn((directions, 4 * hidden_size), generator=generator, device=device)
    bias[:, hidden_size : 2 * hidden_size] += keep
    return Layer(
        projected=normal(batch_size, steps, directions, 3 * hidden_size),
        initial=normal(directions, batch_size, hidden_size),
        weight=normal(directions, 3 * hidden_size, hidden_size) * hidden_size**-0.5,
        bias=bias,
        lengths=torch.randint(steps + 1, (batch_size,), generator=generator, device=device),
        d_outputs=normal(batch_size, steps, directions, hidden_size),
        d_final=normal(directions, batch_size, hidden_size),
    )


def by_kernel(layer: Layer) -> Results:
    """Outputs, final states and all gradients."""
    arguments = [getattr(layer, name).detach().requires_grad_() for name in ARGUMENTS]
    return _results(persistent_gru(*arguments, layer.lengths), arguments, layer)


def by_library(layer: Layer, dtype: torch.dtype) -> Results:
    """The same by PyTorch's own GRU (cuDNN on a GPU), whose inputs pass through a unit matrix."""
    layer = replace(layer, **{name: getattr(layer, name).to(dtype) for name in GIVEN})
    arguments = [getattr(layer, name).detach().requires_grad_() for name in ARGUMENTS]
    projected, initial, weight, bias = arguments
    size = initial.shape[-1]
    unit = torch.eye(3 * size, dtype=dtype, device=initial.device)
    outputs, finals = [], []
    for direction in range(len(weight)):
        own, kept = bias[direction], bias.new_zeros(2 * size)
        cell = _linear(unit, own[: 3 * size]), _linear(weight[direction], torch.cat([kept, own[3 * size :]]))
        inputs = projected[:, :, direction]
        cells = [cell, cell][: direction + 1]  # the second reads from the end; the first of two is not looked at
        states = initial[[direction] * len(cells)]
        found, final = fused_gru(inputs, states, [cells], layer.lengths, False)
        outputs.append(found[..., -size:])
        finals.append(final[-1])
    return _results((torch.stack(outputs, 2), torch.stack(finals)), arguments, layer)


def _linear(weight: Tensor, bias: Tensor) -> Linear:
    """A projection by tensors that are no parameters: gradients flow to what they were made of."""
    made = Linear(1, 1)
    del made.weight, made.bias
    made.weight, made.bias = weight, bias
    return made


def _results(forward: tuple[Tensor, Tensor], arguments: list[Tensor], layer: Layer) -> Results:
    gradients = torch.autograd.grad(forward, arguments, (layer.d_outputs, layer.d_final))
    named = zip(ARGUMENTS, gradients, strict=True)
    return {"outputs": forward[0].detach(), "final": forward[1].detach(), **{f"d_{name}": each for name, each in named}}


def moved(layer: Layer, seed: int) -> Layer:
    """The layer in float64 with every number off by up to a unit roundoff of its dtype, as roundings leave it."""
    generator = torch.Generator(layer.initial.device).manual_seed(seed)

    def rounded(name: str) -> Tensor:
        exact = getattr(layer, name)
        off = torch.rand(exact.shape, generator=generator, device=exact.device, dtype=torch.float64)
        return exact.double() * (1 + (off - 0.5) * torch.finfo(layer.projected.dtype).eps)

    return replace(layer, **{name: rounded(name) for name in GIVEN})


def noise_of(layer: Layer, exact: Results, seed: int) -> Results:
    """How far roundings move each result: the largest of some draws, one for a layer and results of many numbers.

    In float32, where those of the arithmetic count as well, it is at least as far as PyTorch's own GRU is off.
    """
    many = layer.projected.numel() > FEW and min(map(torch.numel, exact.values())) > FEW_IN_A_RESULT
    draws = 1 if many else DRAWS
    apart = [_moves(layer, exact, DRAWS * seed + draw) for draw in range(draws)]
    least = {name: SPREAD * _rounding_of(oracle, layer.projected.dtype) for name, oracle in exact.items()}
    return {name: max(least[name], *(each[name] for each in apart)) for name in exact}


def _moves(layer: Layer, exact: Results, seed: int) -> Results:
    other = moved(layer, seed)
    found = by_library(other, torch.float64)
    distances = {name: distance(found[name], oracle) for name, oracle in exact.items()}
    if layer.projected.dtype == torch.float32:
        rounded = by_library(other, torch.float32)
        distances = {name: max(far, distance(rounded[name], found[name])) for name, far in distances.items()}
    return distances


def _rounding_of(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """How far numbers are from those of the dtype at most: a part of their size, or of the smallest normal number."""
    smallest = torch.finfo(dtype).tiny * exact.numel() ** 0.5
    return torch.finfo(dtype).eps / 2 * exact.norm().clamp(min=smallest)


def distance(found: Tensor, exact: Tensor) -> Tensor:
    return (found.double() - exact).norm()


def problems(found: Results, exact: Results, noise: Results) -> Iterator[str]:
    """A sentence for each result that is further from float64 than 3 times its noise, or of which that says nothing."""
    for name, oracle in exact.items():
        size, error, bound = oracle.norm(), distance(found[name], oracle), NOISE_RATIO * noise[name]
        if not error <= bound:
            yield f"{name}: an error of {error / size:.1e}, where {bound / size:.1e} is allowed"
    for name in undecided(exact, noise):
        yield f"{name}: undecided, since zeros would pass as well"


def undecided(exact: Results, noise: Results) -> list[str]:
    """The results, other than zeros, of which their noise says so little that zeros would pass."""
    return [name for name, oracle in exact.items() if 0 < oracle.norm() < NOISE_RATIO * noise[name]]


class Trial:
    """A case with its results in float64 and their noise, for any number of kernels."""

    def __init__(self, case: Case, seed: int, device: str):
        self.layer = random_layer(case.sizes, seed, device, case.keep)
        exact = by_library(self.layer, torch.float64)
        self.exact = {name: each for name, each in exact.items() if name in (case.judged or exact)}
        self.noise = noise_of(self.layer, self.exact, seed)

    def problems(self) -> list[str]:
        """Of one run of the kernel: none, if it is as near to float64 as roundings allow."""
        return list(problems(by_kernel(self.layer), self.exact, self.noise))
