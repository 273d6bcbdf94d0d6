"""Flips of a user's torch optimizer: its settings, its clipping, its schedule."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch

from crosscheck.compare import compare
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.recording import record
from crosscheck.recording.side import Side
from crosscheck.report import Report
from shared.errors import IsogradError

Factory = Callable[[list[Any]], Any]
SETTINGS: dict[str, tuple[str, tuple[Any, ...]]] = {  # a group's key -> the catalogue's row, other values
    "weight_decay": ("D56", (0.0, 1e-4, 1e-2, 0.1, 0.05, 1e-3)),
    "eps": ("D92", (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-15, 1e-16)),
    "betas": ("D92", ((0.9, 0.999), (0.9, 0.99), (0.9, 0.95), (0.9, 0.98), (0.95, 0.999))),
    "alpha": ("D58", (0.9, 0.99)),
    "momentum": ("D92", (0.0, 0.9, 0.99)),
    "nesterov": ("D92", (True, False)),
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


def optimizer_flips(side: Side, steps: int) -> Iterator[OptimizerFlip]:
    """The flips that apply to a side's optimizer factory."""
    if not callable(side.optimizer):
        return
    for key, (row, values) in SETTINGS.items():
        for value in values:
            yield OptimizerFlip(row, f"{key} {value}", _with(key, value))
    yield OptimizerFlip("D60", "clipping by the norm itself, not norm + 1e-6", around=_exact_clipping)
    yield OptimizerFlip("D60", "no clipping", around=_no_clipping)
    yield OptimizerFlip("D62", "no decay of biases and norms", _spared)
    yield OptimizerFlip("D57", "decay that is added to the gradient, not decoupled (or the other way round)", _coupled)
    yield OptimizerFlip("D90", "complex gradients that are not conjugated", _conjugated)
    for words, change in STEPS.items():
        yield OptimizerFlip("D92", f"the schedule {words}", _scheduled(change, steps))


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


def _no_clipping() -> Any:
    return mock.patch.object(torch.nn.utils, "clip_grad_norm_", return_value=torch.zeros(()))


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
