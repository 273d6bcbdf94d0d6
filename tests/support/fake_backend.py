"""A backend of a few lines of numpy, for tests of the runner: a softmax over sums of token weights, with momentum."""

import numpy as np

MOMENTUM = 0.9


class FakeBackend:
    """The protocol of shared/backend.py; at step `nan_at` the metric `nan` is NaN, `after_step` is called with each."""

    name = "torch"

    def __init__(
        self, *, model, optimizer, training, loss, seed, dtype, device, nan_at=None, nan="loss", after_step=None
    ):
        self.shape = (model.arguments["vocabulary_size"], model.arguments["num_classes"])
        self.seed, self.nan_at, self.nan, self.after_step = seed, nan_at, nan, after_step
        self.compile_seconds = 0.0

    def init_state(self, initial=None):
        weights = np.random.default_rng(self.seed).standard_normal(self.shape)
        return {"weights": weights, "exp_avg": np.zeros(self.shape), "step": 0}

    def compile_ahead(self, state, training, validation):
        pass

    def to_device(self, batch):
        return batch

    def train_step(self, state, batch, learning_rate):
        gradient, losses, predictions = self._gradient(state["weights"], batch)
        velocity = MOMENTUM * state["exp_avg"] + gradient
        step = state["step"] + 1
        after = {"weights": state["weights"] - learning_rate * velocity, "exp_avg": velocity, "step": step}
        share = batch["weights"] / batch["weights"].sum()
        metrics = {
            "loss": (losses * share).sum(),
            "accuracy": ((predictions == batch["labels"]) * share).sum(),
            "gradient_norm": np.linalg.norm(gradient),
        }
        if step == self.nan_at:
            metrics[self.nan] = np.float64("nan")
        if self.after_step:
            self.after_step(step)
        return after, metrics

    def eval_step(self, state, batch):
        _, losses, predictions = self._gradient(state["weights"], batch)
        return {"losses": losses, "predictions": predictions}

    def logits_of(self, state, batch):
        return self._counts(state["weights"], batch) @ state["weights"]

    def _counts(self, weights, batch):
        counts = np.zeros((len(batch["ids"]), len(weights)))
        np.add.at(counts, (np.arange(len(counts))[:, None], batch["ids"]), batch["mask"])
        return counts

    def _gradient(self, weights, batch):
        counts = self._counts(weights, batch)
        logits = counts @ weights
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        rows = np.arange(len(counts)), batch["labels"]
        losses = -np.log(shares[rows])
        shares[rows] -= 1
        real = batch["weights"][:, None] / batch["weights"].sum()
        return counts.T @ (shares * real), losses, logits.argmax(1)

    def fetch(self, metrics):
        return {name: np.asarray(value) for name, value in metrics.items()}

    def snapshot(self, state):
        return state  # a step creates new arrays

    def state_to_arrays(self, state):
        return {"weights/table": state["weights"], "exp_avg/table": state["exp_avg"], "step": np.int64(state["step"])}

    def state_from_arrays(self, arrays):
        return {"weights": arrays["weights/table"], "exp_avg": arrays["exp_avg/table"], "step": int(arrays["step"])}

    def memory(self):
        return {"steady_bytes": 1, "peak_bytes": 2}

    def describe(self):
        return {"backend": self.name, "device": "numpy"}
