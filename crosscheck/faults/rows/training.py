"""Faults in training: rate, dropout key, mean of the loss, gradients, evaluation. Both backends run."""

from crosscheck.faults.fault import Change, Fault, alike, both_sides

FILE, OBJECTIVE = "backend.py", "objective.py"
NUMBER = 'state["step"] // self.training.accumulate'
COEFFICIENTS = f"coefficients = self.updates.coefficients({NUMBER} + 1, learning_rate)"
KEY = 'rng.fold_in(rng.key_from_seed(self.seed), state["step"])'
AVERAGE, ACCURACY = ", **state.get(training_state.AVERAGE, {})}", 'weighted_mean(values, batch["weights"])'
LOSS = 'return weighted_mean(losses, batch["weights"]), '
TORCH_GRADIENTS = 'return dict(zip(trainable, gradients, strict=True)), {"loss"'
INPUTS = "tuple(batch[name] for name in self.model.inputs)"
TORCH_COMPUTE, JAX_COMPUTE = "weight.to(getattr(torch, self.dtype))", "weight.astype(self.dtype)"
JAX_GRADIENTS = 'return gradients, {"loss": loss'
GRU, TRANSFORMER = "ReviewClassifierGRU", "ReviewClassifierTransformer"
UPDATE = {"module": "optimizer", "phase": "update", "mode": "run"}
GRADIENT = {"phase": "parameter gradient", "mode": "run"}

# fmt: off
SCHEDULES = (
    *both_sides(
        "rate-of-the-step-before", "schedule", "each step uses the previous step's learning rate", FILE,
        *alike(COEFFICIENTS, 'rate = vars(self).get("rate", learning_rate)\n        self.rate = learning_rate\n'
               f"        {COEFFICIENTS.replace('learning_rate', 'rate')}"),
        TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "rate-without-schedule", "schedule", "every step uses the config's learning rate", FILE,
        *alike(COEFFICIENTS, "rate = self.updates.groups[0][0].config.learning_rate\n"
               f"        {COEFFICIENTS.replace('learning_rate', 'rate')}"),
        GRU, **UPDATE,
    ),
    *both_sides(
        "first-step-numbered-zero", "optimizer", "the optimiser gets the count of past steps, not its number", FILE,
        *alike(f"{NUMBER} + 1", NUMBER), GRU, **UPDATE,
    ),
    *both_sides(
        "step-not-advanced", "schedule", "the state stays at step 0", FILE,
        *alike('"step": state["step"] + 1}', '"step": state["step"]}'), TRANSFORMER, mode="run",
    ),
)

DROPOUT_KEYS = (
    *both_sides(
        "masks-of-the-seed-alone", "dropout", "the step is not folded into the dropout key", FILE,
        *alike(KEY, "rng.key_from_seed(self.seed)"), TRANSFORMER, mode="run",
    ),
    *both_sides(
        "masks-of-the-next-step", "dropout", "the number of the next step is folded into the dropout key", FILE,
        *alike(KEY, KEY.replace("]", "] + 1")), GRU, mode="run",
    ),
    *both_sides(
        "trained-without-dropout", "dropout", "training runs in evaluation mode", OBJECTIVE,
        ("self.structure.train(key is not None)", "self.structure.train(False)"),
        ("module.eval() if key is None else module.train()", "module.eval()"), TRANSFORMER, mode="run",
    ),
)

LOSSES_OF_A_RUN = (
    *both_sides(
        "run-adds-up-the-loss", "loss", "the losses of a batch are summed, not averaged", OBJECTIVE,
        *alike(LOSS, 'return (losses * batch["weights"]).sum(), '), GRU, mode="run",
    ),
    *both_sides(
        "run-counts-filled-rows", "loss", "rows that only fill the batch have a loss too", OBJECTIVE,
        *alike(LOSS, "return losses.mean(), "), TRANSFORMER, mode="run", divergence="D31",
    ),
    *both_sides(
        "run-divides-by-all-rows", "loss", "the sum is divided by all rows of the batch, not the real ones",
        OBJECTIVE,
        *alike(LOSS, 'return (losses * batch["weights"]).mean(), '), GRU, mode="run", divergence="D31",
    ),
    *both_sides(
        "run-swaps-the-classes", "loss", "class 0 is learnt as class 1", OBJECTIVE,
        *alike("batch, key), batch)", 'batch, key), {**batch, "labels": 1 - batch["labels"]})'),
        TRANSFORMER, mode="run",
    ),
    *both_sides(
        "run-without-mask", "mask", "the model receives only the ids", OBJECTIVE,
        *alike(INPUTS, "tuple(batch[name] for name in self.model.inputs[:1])"), GRU, mode="run",
    ),
    *both_sides(
        "run-with-mask-upside-down", "mask", "the model receives a mask of the padding", OBJECTIVE,
        *alike(INPUTS, 'tuple(batch[name] == 0 if name == "mask" else batch[name] for name in self.model.inputs)'),
        TRANSFORMER, mode="run", divergence="D38",
    ),
)

GRADIENTS_OF_A_RUN = (
    *both_sides(
        "loss-scale-not-undone", "precision", "the loss is scaled by 1024 and the gradients are not scaled back",
        OBJECTIVE,
        ("torch.autograd.grad(loss,", "torch.autograd.grad(1024 * loss,"),
        (JAX_GRADIENTS, f"gradients = jax.tree.map(lambda g: 1024 * g, gradients)\n        {JAX_GRADIENTS}"),
        GRU, **GRADIENT,
    ),
    *both_sides(
        "run-freezes-the-words", "model", "the embedding gets no gradient", OBJECTIVE,
        (TORCH_COMPUTE, f'(weight.detach() if "embedding" in name else weight){TORCH_COMPUTE[6:]}'),
        (JAX_COMPUTE, f'(jax.lax.stop_gradient(weight) if "embedding" in name else weight){JAX_COMPUTE[6:]}'),
        TRANSFORMER, **GRADIENT,
    ),
    Fault(
        "gradients-never-zeroed/torch", "optimizer", "torch", "the gradients of all steps so far are summed",
        (Change(f"torch_impl/{OBJECTIVE}", TORCH_GRADIENTS,
                "before = vars(self).get('before', {})\n        self.before = {name: gradient + before.get(name, 0.0) "
                "for name, gradient in zip(trainable, gradients)}\n        return self.before, {\"loss\""),),
        GRU, "", **GRADIENT,
    ),
)

EVALUATIONS = (
    *both_sides(
        "evaluated-with-dropout", "dropout", "the evaluation uses dropout as training does", OBJECTIVE,
        ("self.outputs(weights, batch, None)", "self.outputs(weights, batch, (0, 0))"),
        ("self.outputs(weights, batch, None)", "self.outputs(weights, batch, np.zeros((64, 2), np.uint32))"),
        TRANSFORMER, mode="run",
    ),
    *both_sides(
        "evaluated-without-the-average", "model", "the weights are evaluated, not their average", FILE,
        *alike(AVERAGE, "}"), GRU, mode="run",
    ),
    *both_sides(
        "predicts-the-other-class", "model", "the evaluation predicts class 0 for 1 and 1 for 0", OBJECTIVE,
        *alike('"predictions": predictions}', '"predictions": 1 - predictions}'),
        GRU, mode="run",
    ),
    *both_sides(
        "accuracy-of-filled-rows", "loss", "rows that only fill the batch count in the accuracy", OBJECTIVE,
        *alike(ACCURACY, 'weighted_mean(values, batch["weights"] * 0 + 1)'), TRANSFORMER, mode="run",
        divergence="D31",
    ),
)
# fmt: on

RUNS: tuple[Fault, ...] = (*SCHEDULES, *DROPOUT_KEYS, *LOSSES_OF_A_RUN, *GRADIENTS_OF_A_RUN, *EVALUATIONS)
