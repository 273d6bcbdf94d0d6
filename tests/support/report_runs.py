"""Run folders for reports, written without training."""

from dataclasses import replace

from experiments.catalogue import find_experiment
from experiments.training.run_config import RunConfig, write_config
from shared.metrics_log import MetricsLog

MEBIBYTE = 2**20


def make_run(folder, experiment="reviews-1-small", backend="torch", offset=0.0, accuracies=(0.7, 0.9, 0.8), **changes):
    """A run folder of 30 steps whose loss at step s is 1 / s + offset * s."""
    folder.mkdir(parents=True)
    config = RunConfig(
        experiment=find_experiment(experiment) if isinstance(experiment, str) else experiment,
        backend=backend,
        dtype="float64",
        device="cpu",
        data_source=None,
        data_origin="built in",
        data_fingerprint="abc",
        tokenizer_origin="words",
        tokenizer_fingerprint="def",
        counts={"train": 640, "validation": 160},
        parameters=1234,
        versions={"numpy": "2"},
    )
    write_config(folder, replace(config, **changes))
    totals = {"seconds": 12.5, "compile_seconds": 3.25, "steady_bytes": 5 * MEBIBYTE, "peak_bytes": 7 * MEBIBYTE}
    with MetricsLog(folder, tensorboard=False) as log:
        for step in range(1, 31):
            log.write(
                {"step": step, "epoch": (step + 9) // 10, "kind": "train", "loss": 1 / step + offset * step}
                | {"accuracy": step / 30, "gradient_norm": 2.0, "learning_rate": 1e-3}
                | (totals | {"examples_per_second": 640.0} if step % 10 == 0 else {})
            )
        for step, accuracy in zip((10, 20, 30), accuracies, strict=True):
            figures = {"loss": 2 - accuracy, "accuracy": accuracy, "f1": accuracy, "evaluation_seconds": 0.5}
            log.write({"step": step, "epoch": step // 10, "kind": "validation", **figures, **totals})
    return folder
