"""Optimisers with every hyperparameter passed, as functions of named tensors. Twin: jax_impl/optimizer.py."""

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from shared.configs.optimizer import AdagradConfig, AdamConfig, AdamWConfig, RMSpropConfig, SGDConfig
from torch_impl import one_pass_adamw

Tensors = dict[str, Tensor]
Named = tuple[Tensors, ...]


class SGD:
    """g' = g + decay w, b' = momentum b + g', w' = w - lr b'; Nesterov: w' = w - lr (g' + momentum b')."""

    def __init__(self, config: SGDConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(
        self, weights: Tensors, gradients: Tensors, state: Named, coefficients: tuple[float, ...]
    ) -> tuple[Tensors, Named]:
        """Weights and momentum buffer (none without momentum) after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        buffers = [state[0][name] for name in weights] if state else [None] * len(weights)
        sgd(
            list(weights.values()),
            [gradients[name] for name in weights],
            buffers,
            lr=learning_rate,
            momentum=self.config.momentum,
            nesterov=self.config.nesterov,
            weight_decay=self.config.weight_decay,
            dampening=0.0,
            maximize=False,
            fused=_may_be_fused(weights, gradients, *state),
            foreach=not _on_cpu(weights),
        )
        return weights, state


class AdamW:
    """m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
    w' = w - lr (m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) + decay w)
    """

    def __init__(self, config: AdamWConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return float(step), learning_rate

    def update(
        self, weights: Tensors, gradients: Tensors, state: Named, coefficients: tuple[float, ...]
    ) -> tuple[Tensors, Named]:
        """Weights and both moments after one step; consumes its arguments."""
        step, learning_rate = coefficients
        exp_avg, exp_avg_sq = state
        groups = tuple([named[name] for name in weights] for named in (weights, gradients, exp_avg, exp_avg_sq))
        if one_pass_adamw.serves(groups):
            one_pass_adamw.move(groups, self.config, int(step), learning_rate)
            return weights, state
        counters = torch.full((len(weights),), step - 1)
        adamw(
            *groups,
            max_exp_avg_sqs=[],
            state_steps=list(counters.unbind()),
            lr=learning_rate,
            beta1=self.config.beta_1,
            beta2=self.config.beta_2,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            amsgrad=False,
            maximize=False,
            fused=_may_be_fused(weights, gradients, exp_avg, exp_avg_sq),
            foreach=not _on_cpu(weights),
        )
        return weights, (exp_avg, exp_avg_sq)


class Adam:
    """AdamW without decay, of the gradients g' = g + decay w."""

    def __init__(self, config: AdamConfig):
        self.config = config
        undecayed = AdamWConfig(config.learning_rate, config.beta_1, config.beta_2, config.eps, weight_decay=0.0)
        self.rule = AdamW(undecayed)

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return self.rule.coefficients(step, learning_rate)

    def update(
        self, weights: Tensors, gradients: Tensors, state: Named, coefficients: tuple[float, ...]
    ) -> tuple[Tensors, Named]:
        """Weights and both moments after one step; consumes its arguments."""
        gradients = _with_decay(gradients, weights, self.config.weight_decay)
        return self.rule.update(weights, gradients, state, coefficients)


class RMSprop:
    """g' = g + decay w, s' = alpha s + (1 - alpha) g'^2, w' = w - lr g' / (sqrt(s') + eps)."""

    def __init__(self, config: RMSpropConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(
        self, weights: Tensors, gradients: Tensors, state: Named, coefficients: tuple[float, ...]
    ) -> tuple[Tensors, Named]:
        """Weights and mean squares after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        (square_avg,) = state
        rmsprop(
            list(weights.values()),
            [gradients[name] for name in weights],
            [square_avg[name] for name in weights],
            grad_avgs=[],
            momentum_buffer_list=[],
            state_steps=list(torch.zeros(len(weights)).unbind()),
            lr=learning_rate,
            alpha=self.config.alpha,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            momentum=0.0,
            centered=False,
            foreach=not _on_cpu(weights),
        )
        return weights, (square_avg,)


class Adagrad:
    """g' = g + decay w, s' = s + g'^2, w' = w - lr g' / (sqrt(s') + eps)."""

    def __init__(self, config: AdagradConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Step-dependent coefficients (the first step is 1), in Python's float64; the last argument of `update`."""
        return (learning_rate,)

    def update(
        self, weights: Tensors, gradients: Tensors, state: Named, coefficients: tuple[float, ...]
    ) -> tuple[Tensors, Named]:
        """Weights and sums of squares after one step; consumes its arguments."""
        (learning_rate,) = coefficients
        (total,) = state
        adagrad(
            list(weights.values()),
            [gradients[name] for name in weights],
            [total[name] for name in weights],
            state_steps=list(torch.zeros(len(weights)).unbind()),
            lr=learning_rate,
            lr_decay=0.0,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            maximize=False,
            fused=_may_be_fused(weights, gradients, *state),
            foreach=not _on_cpu(weights),
        )
        return weights, (total,)


RULES = {SGDConfig: SGD, AdamWConfig: AdamW, AdamConfig: Adam, RMSpropConfig: RMSprop, AdagradConfig: Adagrad}


def _with_decay(gradients: Tensors, weights: Tensors, weight_decay: float) -> Tensors:
    """Decay as L2: the gradient of weight_decay / 2 times the sum of squares is added."""
    if not weight_decay:
        return gradients
    return {name: gradient + weight_decay * weights[name] for name, gradient in gradients.items()}


def _may_be_fused(*groups: Tensors) -> bool:
    """Torch's fused kernels read tensors in the order of memory, whatever their strides.

    On a GPU, AdamW's takes 1 - beta_2 in float32, which is 1.3e-5 off at 0.999.
    """
    return all(_on_cpu(tensors) and all(map(Tensor.is_contiguous, tensors.values())) for tensors in groups)


def _on_cpu(tensors: Tensors) -> bool:
    return next(iter(tensors.values())).device.type == "cpu"
