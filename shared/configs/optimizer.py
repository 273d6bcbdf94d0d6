"""Optimisers with every hyperparameter written out, and everything else that shapes an update.

No framework's default is relied on: they differ (decay, eps and its place, the accumulator's start).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SGDConfig:
    """Stochastic gradient descent, with momentum (Polyak 1964; no dampening) or Nesterov's; decay is L2."""

    name: str = field(default="sgd", init=False)
    learning_rate: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @property
    def state(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()


@dataclass(frozen=True)
class AdamConfig:
    """Adam (Kingma & Ba 2015); decay is L2, added to the gradient."""

    name: str = field(default="adam", init=False)
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def state(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"


@dataclass(frozen=True)
class AdamWConfig:
    """AdamW: Adam with decoupled decay (Loshchilov & Hutter 2019)."""

    name: str = field(default="adamw", init=False)
    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    @property
    def state(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"


@dataclass(frozen=True)
class RMSpropConfig:
    """RMSprop (Tieleman & Hinton 2012), eps outside of the root; decay is L2."""

    name: str = field(default="rmsprop", init=False)
    learning_rate: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def state(self) -> tuple[str, ...]:
        return ("square_avg",)


@dataclass(frozen=True)
class AdagradConfig:
    """Adagrad (Duchi et al. 2011), its sum starting at 0, eps outside of the root; decay is L2."""

    name: str = field(default="adagrad", init=False)
    learning_rate: float = 1e-2
    eps: float = 1e-10
    weight_decay: float = 0.0

    @property
    def state(self) -> tuple[str, ...]:
        return ("sum",)


OptimizerConfig = SGDConfig | AdamConfig | AdamWConfig | RMSpropConfig | AdagradConfig
OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    config.name: config for config in (SGDConfig, AdamConfig, AdamWConfig, RMSpropConfig, AdagradConfig)
}


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters whose canonical names match one of `patterns` (as file names do: `*.bias`), and their settings."""

    patterns: tuple[str, ...]
    weight_decay: float | None = None  # None: the optimiser's own
    rate_factor: float = 1.0  # times the learning rate
    trainable: bool = True  # False: frozen; no gradients, optimiser state, decay or average


@dataclass(frozen=True)
class TrainingConfig:
    """Everything around the optimiser's rule; each default switches its part off.

    `clip_norm`: gradients are multiplied by min(1, clip_norm / norm), norm = L2 of all of them together.
    `groups`: a parameter belongs to the first group that fits its name, else to the optimiser itself.
    `accumulate`: batches whose gradients make one update, weighted by their real rows.
    `average_decay`: a moving average of the weights, average' = d average + (1 - d) weights, which is evaluated.
    `dropout_rng`: shared = the same masks in both frameworks; native = each framework's own
    (`isograd bench dropout` shows what each costs); in torch they take over its global generator.
    """

    clip_norm: float | None = None
    groups: tuple[ParameterGroup, ...] = ()
    accumulate: int = 1
    average_decay: float | None = None
    dropout_rng: str = "shared"


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the updates, as a multiple of the optimiser's: see shared/schedules.py.

    `warmup` updates rise from 0 first. linear and cosine then fall to `final` at update `horizon` (None: the run's
    last) and stay there; step multiplies by `factor` after every `every` updates, epoch after every epoch.
    `warmup_part`, unless it is 0, is the fraction of the horizon that becomes `warmup` when a run starts.
    """

    name: str = "constant"
    warmup: int = 0
    horizon: int | None = None
    final: float = 0.0
    every: int = 1
    factor: float = 1.0
    warmup_part: float = 0.0
