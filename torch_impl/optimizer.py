"""AdamW with every hyperparameter passed. Twin: jax_impl/optimizer.py."""

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from shared.configs.experiment import AdamWConfig

Tensors = dict[str, Tensor]


class AdamW:
    """Adam with decoupled weight decay on every parameter (Loshchilov & Hutter 2019), as a function of named tensors.

    m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2,
    w' = w - lr (m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) + decay w)
    """

    def __init__(self, config: AdamWConfig):
        self.config = config

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """What changes from step to step (the first is 1), in Python's float64; the last argument of `update`."""
        return float(step), learning_rate

    def update(
        self,
        weights: Tensors,
        gradients: Tensors,
        exp_avg: Tensors,
        exp_avg_sq: Tensors,
        coefficients: tuple[float, ...],
    ) -> tuple[Tensors, Tensors, Tensors]:
        """Weights and both moments after one step; those of the arguments are used up (changed in place)."""
        step, learning_rate = coefficients
        counters = torch.full((len(weights),), step - 1)
        on_cpu = next(iter(weights.values())).device.type == "cpu"
        adamw(
            list(weights.values()),
            [gradients[name] for name in weights],
            [exp_avg[name] for name in weights],
            [exp_avg_sq[name] for name in weights],
            max_exp_avg_sqs=[],
            state_steps=list(counters.unbind()),
            lr=learning_rate,
            beta1=self.config.beta_1,
            beta2=self.config.beta_2,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            amsgrad=False,
            maximize=False,
            fused=on_cpu,  # on a GPU the fused kernel takes 1 - beta_2 in float32, 1.3e-5 off at 0.999
            foreach=not on_cpu,
        )
        return weights, exp_avg, exp_avg_sq
