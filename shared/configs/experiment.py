"""An experiment: the model, its data and its training; frozen, and written as JSON into every run folder."""

from dataclasses import dataclass, field
from typing import Any

from shared.configs.optimizer import AdamWConfig, OptimizerConfig, ScheduleConfig, TrainingConfig

# Of a layer: written like the mathematics, as fast as we can, or as fast as the framework's own (cuDNN; a scan of XLA).
IMPLEMENTATIONS = ("reference", "fused", "library")


@dataclass(frozen=True)
class ModelConfig:
    """A twin by its registry name, its constructor arguments, and the batch entries that it is called with."""

    twin: str
    arguments: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("ids", "mask")


@dataclass(frozen=True)
class SamplesConfig:
    """What a language model writes at every evaluation: a continuation of each prompt, drawn from the `top_k` likeliest
    tokens; without prompts, of the beginnings of the validation text.
    """

    prompts: tuple[str, ...] = ()
    tokens: int = 30
    temperature: float = 1.0
    top_k: int | None = 40


@dataclass(frozen=True)
class Experiment:
    """One row of the catalogue; lengths in tokens, `epochs` passes unless `steps` is set.

    A step is one batch; `training.accumulate` batches make an update. `task` is a row of shared/tasks/table.py;
    `patience` ends a run after this many validations without improvement. `initial` is a folder in the layout of
    Hugging Face, or minilm: the run starts from its weights, and the sizes that `model` leaves out are its own.
    `fold` is (number, count): this one of equal parts of the training examples is the validation.
    """

    name: str
    title: str
    dataset: str
    model: ModelConfig
    optimizer: OptimizerConfig = AdamWConfig()
    training: TrainingConfig = TrainingConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    batch_size: int = 512
    length: int = 256
    epochs: int = 5
    steps: int | None = None
    evaluate_every: int = 25
    checkpoint_every: int = 100
    seed: int = 0
    bucket_lengths: tuple[int, ...] | None = None
    task: str = "classification"
    patience: int | None = None
    samples: SamplesConfig | None = None
    initial: str | None = None
    fold: tuple[int, int] | None = None
