"""Rows D56 to D62 and D72: optimisers, clipping, schedules and decay, on one sequence of gradients."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import nn

from crosscheck.divergences.divergence import KnownDivergence
from crosscheck.divergences.measurement import as_float64, draw, largest_gap, measurement, relative_gap

RATE, STEPS, SIZE, GRADIENT = 1e-3, 1000, 50, 1e-2
PERIOD = 100

Optimizer = torch.optim.Optimizer


def _moved_by_torch(start: np.ndarray, gradients: np.ndarray, make: Callable[..., Optimizer]) -> nn.Parameter:
    parameter = nn.Parameter(torch.tensor(start))
    optimizer = make([parameter])
    for gradient in torch.tensor(gradients):
        parameter.grad = gradient
        optimizer.step()
    return parameter


def _moved_by_optax(start: np.ndarray, gradients: np.ndarray, optimizer: optax.GradientTransformation) -> jax.Array:
    def step(carry, gradient):
        parameters, state = carry
        updates, state = optimizer.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), None

    parameters = jnp.asarray(start)
    run = jax.jit(partial(jax.lax.scan, step))
    return run((parameters, optimizer.init(parameters)), jnp.asarray(gradients))[0][0]


@measurement()
def _optimizer_gap(make: Callable[..., Optimizer], optimizer: optax.GradientTransformation) -> float:
    """The largest absolute difference in parameters from N(0, 1) after 1000 steps."""
    start, gradients = draw(SIZE), draw(STEPS, SIZE, std=GRADIENT, seed=1)
    return largest_gap(_moved_by_torch(start, gradients, make), _moved_by_optax(start, gradients, optimizer))


@measurement()
def _clipped_small_gradient() -> float:
    gradient = draw(10)
    gradient *= 5e-6 / np.linalg.norm(gradient)
    parameter = nn.Parameter(torch.tensor(gradient))
    parameter.grad = torch.tensor(gradient)
    nn.utils.clip_grad_norm_([parameter], max_norm=1e-6)
    clipped, _ = optax.clip_by_global_norm(1e-6).update(jnp.asarray(gradient), optax.EmptyState())
    return relative_gap(parameter.grad, clipped)


@measurement()
def _cosine_after_its_end() -> float:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PERIOD)
    rates = []
    for _ in range(2 * PERIOD + 1):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return largest_gap(rates, optax.cosine_decay_schedule(1.0, PERIOD)(jnp.arange(2 * PERIOD + 1)))


@measurement()
def _decay_of_a_scale() -> float:
    scale, gradients = np.ones(SIZE), draw(STEPS, SIZE, std=GRADIENT, seed=1)
    masked = optax.adamw(
        RATE, weight_decay=1e-2, mask=lambda parameters: jax.tree.map(lambda x: x.ndim > 1, parameters)
    )
    return largest_gap(
        _moved_by_torch(scale, gradients, partial(torch.optim.AdamW, lr=RATE)),
        _moved_by_optax(scale, gradients, masked),
    )


@measurement()
def _gradient_with_other_strides() -> float:
    start, gradient = draw(SIZE, SIZE), draw(SIZE, SIZE, std=GRADIENT, seed=1)
    parameter = nn.Parameter(torch.tensor(start))
    parameter.grad = torch.tensor(gradient.T.copy()).T
    torch.optim.SGD([parameter], lr=1.0, fused=True).step()
    return relative_gap(start - as_float64(parameter), start - _moved_by_optax(start, gradient[None], optax.sgd(1.0)))


AFTER = "largest absolute difference in parameters from N(0, 1) after 1000 steps"

OPTIMIZERS = (
    KnownDivergence(
        id="D56",
        name="adamw-decay-default",
        trigger="AdamW at its default weight decay: 1e-2 in torch, 1e-4 in optax",
        predicted=2.7e-2,
        size_of=AFTER + " at learning rate 1e-3",
        measure=partial(_optimizer_gap, partial(torch.optim.AdamW, lr=RATE), optax.adamw(RATE)),
        source="torch.optim.AdamW and optax.adamw documentation",
        to_torch="optax.adamw(lr, weight_decay=1e-2)",
        to_jax="torch.optim.AdamW(parameters, lr, weight_decay=1e-4)",
    ),
    KnownDivergence(
        id="D57",
        name="adam-L2",
        trigger="Adam with weight decay: torch adds it to the gradient (L2), optax decouples it",
        predicted=0.84,
        size_of=AFTER + " at learning rate 1e-3 and decay 1e-2, gradients of 1e-2",
        measure=partial(
            _optimizer_gap, partial(torch.optim.Adam, lr=RATE, weight_decay=1e-2), optax.adamw(RATE, weight_decay=1e-2)
        ),
        source="optax#417; torch.optim.Adam documentation",
        to_torch="optax.chain(optax.add_decayed_weights(decay), optax.adam(lr))",
        to_jax="torch.optim.AdamW(parameters, lr, weight_decay=decay)",
    ),
    KnownDivergence(
        id="D58",
        name="rmsprop",
        trigger="RMSprop at its defaults: decay 0.99 in torch, 0.9 in optax; eps outside versus inside the root",
        predicted=4e-2,
        size_of=AFTER + " at learning rate 1e-3, gradients of 1e-2 (the position of eps alone: 9.9e-3)",
        measure=partial(_optimizer_gap, partial(torch.optim.RMSprop, lr=RATE), optax.rmsprop(RATE)),
        source="optax#532; torch.optim.RMSprop documentation",
        to_torch="optax.rmsprop(lr, decay=0.99, eps_in_sqrt=False)",
        to_jax="torch.optim.RMSprop(parameters, lr, alpha=0.9); its eps stays outside the root",
    ),
    KnownDivergence(
        id="D59",
        name="adagrad, nadam",
        trigger="Adagrad at its defaults: sums start at 0 in torch, 0.1 in optax; NAdam's momentum schedule differs",
        predicted=6e-2,
        size_of=AFTER + " of Adagrad at learning rate 1e-2, torch's default (NAdam at 1e-3: 5.9e-3)",
        measure=partial(_optimizer_gap, torch.optim.Adagrad, optax.adagrad(1e-2)),
        source="torch.optim.Adagrad, torch.optim.NAdam, optax.adagrad and optax.nadam documentation",
        to_torch="optax.adagrad(lr, initial_accumulator_value=0.0, eps=0.0); NAdam's momentum has no twin in optax",
        to_jax="torch.optim.Adagrad(parameters, lr, initial_accumulator_value=0.1, eps=1e-7)",
    ),
    KnownDivergence(
        id="D60",
        name="clip-eps",
        trigger="gradients clipped to a norm near 1e-6",
        predicted=0.17,
        size_of="relative L2 difference in a gradient of norm 5e-6 clipped to 1e-6 (of norm 5 clipped to 1: 2e-7)",
        measure=_clipped_small_gradient,
        source="spd#643; spd#821; torch.nn.utils.clip_grad_norm_ documentation",
        to_torch="scale = jnp.minimum(1.0, max_norm / (optax.global_norm(grads) + 1e-6))",
        to_jax="scale = (max_norm / torch.nn.utils.get_total_norm(grads)).clamp(max=1.0)",
    ),
    KnownDivergence(
        id="D61",
        name="cosine",
        trigger="more steps than the schedule has: torch's cosine climbs again, optax's stays",
        predicted=1.0,
        size_of="largest difference in the learning rates over twice the length, relative to the initial rate",
        measure=_cosine_after_its_end,
        source="torch.optim.lr_scheduler.CosineAnnealingLR and optax.cosine_decay_schedule documentation; spd#642",
        to_torch="lambda step: lr * 0.5 * (1 + jnp.cos(jnp.pi * step / T))",
        to_jax="LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(step, T) / T)))",
    ),
    KnownDivergence(
        id="D62",
        name="ema / no-decay groups",
        trigger="one side's mask or wrapper is missing on the other: no decay for norms and biases, an EMA",
        predicted=1e-2,
        size_of="largest absolute difference in a norm's weight after 1000 steps: decayed by torch, masked in optax",
        measure=_decay_of_a_scale,
        source="openpi#989; torch.optim param_groups and optax.adamw (mask) documentation",
        to_torch="optax.adamw(lr, weight_decay=1e-2) without a mask",
        to_jax='{"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0} as a separate group',
    ),
    KnownDivergence(
        id="D72",
        name="fused-strides",
        trigger="torch's SGD, Adam, AdamW or Adagrad with fused=True on a CPU, given a transposed view as gradient",
        predicted=1.4,
        size_of="relative L2 difference in the first step: the gradient's entries are read in the wrong order",
        measure=_gradient_with_other_strides,
        source="found here: the fused kernels ignore strides; pytorch#106951 (where such gradients come from)",
        to_torch="nothing to change: JAX arrays have no strides, and torch's step does not follow the formula",
        to_jax="parameter.grad = gradient.contiguous() for a contiguous parameter, or fused=False",
    ),
)
