"""Flips of a user's torch optimizer: its settings, its clipping, its schedule."""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch

from crosscheck.compare import compare
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.recording import record
from crosscheck.recording.recording import SIDES, Recording
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.errors import IsogradError
from shared.training_state import WEIGHTS

Tensors = list[torch.Tensor]
ROUNDING = 2.0**-20  # derived: some roundings of float32, in which a rate may be held
Factory = Callable[[list[Any]], Any]
SETTINGS: dict[str, tuple[str, tuple[Any, ...]]] = {  # a group's key -> the catalogue's row, other values
    "weight_decay": ("D56", (0.0, 1e-4, 1e-2, 0.1, 0.05, 1e-3)),
    "eps": ("D92", (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-15, 1e-16)),
    "betas": ("D92", ((0.9, 0.999), (0.9, 0.99), (0.9, 0.95), (0.9, 0.98), (0.95, 0.999))),
    "alpha": ("D58", (0.9, 0.99)),
    "momentum": ("D92", (0.0, 0.9, 0.99)),
    "nesterov": ("D92", (True, False)),
    "amsgrad": ("D92", (True, False)),
    "maximize": ("D92", (True, False)),
    "dampening": ("D92", (0.0, 0.1, 0.9)),
    "centered": ("D58", (True, False)),
}
STEPS: dict[str, Callable[[float, int], float]] = {
    "one step later": lambda step, total: step + 1,
    "one step earlier": lambda step, total: max(step - 1, 0),
    "with one step more in all": lambda step, total: step * (total - 1) / total,
    "with one step less in all": lambda step, total: step * total / (total - 1) if total > 1 else step,
    "standing still": lambda step, total: 0,
}


@dataclass(frozen=True)
class OptimizerFlip:
    """One flip: the catalogue row, the change in words, the changed factory, and what is replaced around it."""

    divergence: str
    what: str
    change: Callable[[Any], Any] = lambda optimizer: optimizer
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def compared(self, side: Side, report: Report, layouts: Layouts) -> Report:
        """The comparison of the torch side with this optimizer with the recorded JAX side."""
        assert report.recordings is not None  # noqa: S101  the caller looks
        ours, theirs = report.recordings
        made = side.optimizer

        def factory(parameters: list[Any]) -> Any:
            return self.change(made(parameters))

        with self.around():
            found = record.run(replace(side, optimizer=factory), ours.arguments or ((), {}), ours.options)
        return compare(canonical(found, layouts), theirs, name=ours.name)


def optimizer_flips(side: Side, report: Report) -> Iterator[OptimizerFlip]:
    """The flips that apply to a side's optimizer factory in a report's updates."""
    if not callable(side.optimizer) or report.recordings is None:
        return
    steps = report.recordings[0].options.updates
    for ratio in _ratios(report):
        yield OptimizerFlip("D92", f"a rate that is {ratio:.6g} times as large", _faster(ratio))
    for key, (row, values) in SETTINGS.items():
        for value in values:
            yield OptimizerFlip(row, f"{key} {value}", _with(key, value))
    yield OptimizerFlip("D60", "clipping by the norm itself, not norm + 1e-6", around=_exact_clipping)
    yield OptimizerFlip("D60", "no clipping", around=_no_clipping)
    for words, clip in CLIPPINGS.items():
        yield OptimizerFlip("D60", words, around=functools.partial(_clipping, clip))
    for words, rule in ADAMS.items():
        yield OptimizerFlip("D92", words, around=functools.partial(_adam, rule))
    yield OptimizerFlip("D62", "no decay of biases and norms", _spared)
    yield OptimizerFlip("D57", "decay that is added to the gradient, not decoupled (or the other way round)", _coupled)
    yield OptimizerFlip("D90", "complex gradients that are not conjugated", _conjugated)
    for words, change in STEPS.items():
        yield OptimizerFlip("D92", f"the schedule {words}", _scheduled(change, steps))


def _ratios(report: Report) -> list[float]:
    """How many times as long JAX's first step is, if that is one number for all weights."""
    moves = [_first_step(side) for side in report.recordings or ()]
    if len(moves) < len(SIDES) or moves[0].shape != moves[1].shape or not moves[0].any():
        return []
    ours, theirs = moves
    ratio = float((np.conj(ours) * theirs).sum().real / np.square(np.abs(ours)).sum())
    is_one = np.linalg.norm(theirs - ratio * ours) <= ROUNDING * np.linalg.norm(theirs)
    return [ratio] if is_one and abs(ratio - 1) > ROUNDING else []


def _first_step(side: Recording) -> np.ndarray:
    """By how much the first update moves all weights, in a row; empty if no update is recorded."""
    first, values = f"1/{WEIGHTS}/", side.values
    names = sorted(name for name in values.updates if name.startswith(first))
    moves = [np.ravel(values.updates[name] - values.parameters[name.removeprefix(first)]) for name in names]
    return np.concatenate([np.zeros(0), *moves])


def _faster(ratio: float) -> Callable[[Any], Any]:
    def change(optimizer: Any) -> Any:
        for group in optimizer.param_groups:
            group["lr"] *= ratio
        return optimizer

    return change


def _with(key: str, value: Any) -> Callable[[Any], Any]:
    def change(optimizer: Any) -> Any:
        if all(group.get(key, value) == value for group in optimizer.param_groups):
            raise IsogradError("the optimizer has no such setting, or this value already")
        for group in optimizer.param_groups:
            group[key] = value
        return optimizer

    return change


def _clip(parameters: Any, max_norm: float, *_: Any, **__: Any) -> torch.Tensor:
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(torch.clamp(max_norm / norm, max=1.0))
    return norm


def _exact_clipping() -> Any:
    return mock.patch.object(torch.nn.utils, "clip_grad_norm_", _clip)


def _of_each(parameters: Any, max_norm: float, *_: Any, **__: Any) -> torch.Tensor:
    for each in parameters:
        _clip(each, max_norm)
    return torch.zeros(())


def _of_numbers(parameters: Any, max_norm: float, *_: Any, **__: Any) -> torch.Tensor:
    torch.nn.utils.clip_grad_value_(parameters, max_norm)
    return torch.zeros(())


CLIPPINGS = {"each tensor clipped by its own norm": _of_each, "each number clipped, not the norm": _of_numbers}


def _clipping(clip: Callable[..., Any]) -> Any:
    return mock.patch.object(torch.nn.utils, "clip_grad_norm_", clip)


def _no_clipping() -> Any:
    return mock.patch.object(torch.nn.utils, "clip_grad_norm_", return_value=torch.zeros(()))


class Adam(NamedTuple):
    """How an Adam differs from torch's: where its epsilon stands, and what of it is left out."""

    eps_inside: bool = False
    eps_before: bool = False
    corrects: bool = True
    rate_on_decay: bool = True

    def __call__(
        self, weights: Tensors, gradients: Tensors, first: Tensors, second: Tensors, _: Tensors, steps: Tensors, *,
        beta1: float, beta2: float, lr: float, weight_decay: float, eps: float, decoupled_weight_decay: bool, **__: Any,
    ) -> None:  # fmt: skip
        """One step of all parameters, in place of `torch.optim.adam.adam`."""
        for weight, gradient, mean, square, step in zip(weights, gradients, first, second, steps, strict=True):
            step += 1
            gradient = gradient if decoupled_weight_decay else gradient + weight_decay * weight
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            of_mean, of_square = (1 - beta ** float(step) if self.corrects else 1.0 for beta in (beta1, beta2))
            inside = eps if self.eps_inside else 0.0
            outside = 0.0 if self.eps_inside else eps / of_square**0.5 if self.eps_before else eps
            decayed = weight_decay * weight if decoupled_weight_decay else torch.zeros_like(weight)
            change = mean / of_mean / ((square / of_square + inside).sqrt() + outside)
            weight.sub_(lr * change + (lr if self.rate_on_decay else 1.0) * decayed)


ADAMS = {
    "epsilon under the root": Adam(eps_inside=True),
    "epsilon added before the root's correction, as in TensorFlow": Adam(eps_before=True),
    "no correction of the moments' bias": Adam(corrects=False),
    "a decay that the rate does not multiply": Adam(rate_on_decay=False),
}


def _adam(rule: Adam) -> Any:
    return mock.patch.object(importlib.import_module("torch.optim.adam"), "adam", rule)


def _before_step(optimizer: Any, change: Callable[[Any], None]) -> Any:
    optimizer.register_step_pre_hook(lambda *_: change(optimizer))
    return optimizer


def _spared(optimizer: Any) -> Any:
    groups = []
    for group in optimizer.param_groups:
        few = [each for each in group["params"] if each.ndim < 2]
        groups.append({**group, "params": few, "weight_decay": 0.0})
        group["params"] = [each for each in group["params"] if each.ndim >= 2]
    optimizer.param_groups += groups
    return optimizer


def _coupled(optimizer: Any) -> Any:
    if not any("decoupled_weight_decay" in group for group in optimizer.param_groups):
        raise IsogradError("the optimizer decays in one way only")
    for group in optimizer.param_groups:
        group["decoupled_weight_decay"] = not group["decoupled_weight_decay"]
    return optimizer


def _conjugated(optimizer: Any) -> Any:
    tensors = [each for group in optimizer.param_groups for each in group["params"] if each.is_complex()]
    if not tensors:
        raise IsogradError("no parameter is complex")

    def change(_: Any) -> None:
        for each in tensors:
            each.grad = each.grad.conj().resolve_conj()

    return _before_step(optimizer, change)


def _scheduled(change: Callable[[float, int], float], total: int) -> Callable[[Any], Any]:
    def changed(optimizer: Any) -> Any:
        kind = torch.optim.lr_scheduler.LRScheduler
        schedules = [each for each in vars(optimizer).values() if isinstance(each, kind)]
        if not schedules:
            raise IsogradError("the optimizer has no schedule")
        for schedule in schedules:
            for group, rate in zip(optimizer.param_groups, _rates(schedule, change, total), strict=True):
                group["lr"] = rate
            schedule.get_lr = lambda schedule=schedule: _rates(schedule, change, total)
        return optimizer

    return changed


def _rates(schedule: Any, change: Callable[[float, int], float], total: int) -> list[float]:
    step = schedule.last_epoch
    closed = getattr(schedule, "_get_closed_form_lr", None) or type(schedule).get_lr.__get__(schedule)
    schedule.last_epoch = change(step, total)
    try:
        return list(closed())
    finally:
        schedule.last_epoch = step
