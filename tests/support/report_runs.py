"""Run folders for reports, written without training."""

from dataclasses import replace

from experiments.catalogue import find_experiment
from experiments.training.run_config import RunConfig, write_config
from shared.metrics_log import MetricsLog

MEBIBYTE = 2**20


def make_run(folder, experiment="reviews-1-small", backend="torch", offset=0.0, accuracies=(0.7, 0.9, 0.8), **changes):
    """A run folder of 30 steps whose loss at step s is 1 / s + offset * s.

    No other figure stays the same either, and no mean is a median: so a report must take the right one.
    """
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
    last = {"seconds": 12.5, "compile_seconds": 3.25, "steady_bytes": 5 * MEBIBYTE, "peak_bytes": 7 * MEBIBYTE}
    totals = {step: {name: number * step / 30 for name, number in last.items()} for step in (10, 20)} | {30: last}
    speeds, spent = {10: 500.0, 20: 640.0, 30: 660.0}, {10: 0.25, 20: 0.75, 30: 0.5}
    with MetricsLog(folder, tensorboard=False) as log:
        for step in range(1, 31):
            log.write(
                {"step": step, "epoch": (step + 9) // 10, "kind": "train", "loss": 1 / step + offset * step}
                | {"accuracy": step / 30, "gradient_norm": 2.0 + step**2, "learning_rate": 1e-3}
                | (totals[step] | {"examples_per_second": speeds[step]} if step in speeds else {})
            )
        for step, accuracy in zip((10, 20, 30), accuracies, strict=True):
            figures = {"loss": 2 - accuracy, "accuracy": accuracy, "f1": accuracy, "evaluation_seconds": spent[step]}
            log.write({"step": step, "epoch": step // 10, "kind": "validation", **figures, **totals[step]})
    return folder
