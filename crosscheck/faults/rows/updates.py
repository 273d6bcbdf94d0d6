"""Faults around the optimiser's rule: clipping, parameter groups, averaging, gradient accumulation."""

from crosscheck.faults.fault import Change, Equivalent, Fault, alike, both_sides, both_sides_equal

FILE, BACKEND = "update.py", "backend.py"
FACTOR, SCALED = "(norm > clip_norm, clip_norm / norm, 1.0)", "gradient * factor for"
SQUARES = "sum(map(_squared_norm, gradients.values()))"
DECAY = "optimizer.weight_decay if group.weight_decay is None else group.weight_decay"
AVERAGED = "averaged(tensors[AVERAGE], moved[WEIGHTS], self.training.average_decay)}"
MOVED = "moved = {group: dict(tensors[group]) for group in (WEIGHTS, *self.state)}"
MIX = "decay * average[name] + (1 - decay) * weights[name]"
SUMS, MEAN = "sums = {name: total + rows", "total / (rows + (rows == 0))"
NUMBER, IS_LAST = '["step"] // self.training.accumulate + 1', '(state["step"] + 1) % self.training.accumulate == 0'
GRU, TRANSFORMER, ACCUMULATING, FREEZING = (
    "ReviewClassifierGRU",
    "ReviewClassifierTransformer",
    "ReviewClassifierGRU:encoder_only",
    "ReviewClassifierGRU:no_attention",
)
UPDATE = {"module": "optimizer", "phase": "update", "mode": "run"}
GRADIENT = {"phase": "parameter gradient", "mode": "run"}

# fmt: off
CLIPPING = (
    *both_sides(
        "clip-with-eps", "optimizer", "the divisor is the norm + 1e-6, as in torch's own function", FILE,
        *alike("clip_norm / norm, 1.0", "clip_norm / (norm + 1e-6), 1.0"), GRU, **UPDATE, divergence="D60",
    ),
    *both_sides(
        "clip-each-tensor", "optimizer", "each tensor is clipped by its own norm", FILE,
        (SCALED, "gradient * (clip_norm / gradient.norm()).clamp(max=1.0) for"),
        (SCALED, "gradient * (clip_norm / jnp.linalg.norm(gradient.ravel())).clip(max=1.0) for"),
        TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "clip-each-number", "optimizer", "each entry of the gradients is clipped, not their norm", FILE,
        (SCALED, "gradient.clamp(-clip_norm, clip_norm) for"), (SCALED, "gradient.clip(-clip_norm, clip_norm) for"),
        TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "clip-by-the-square", "optimizer", "the gradients are clipped by their squared norm", FILE,
        *alike(FACTOR, FACTOR.replace("norm >", "norm**2 >").replace("/ norm", "/ norm**2")), GRU, **UPDATE,
    ),
    *both_sides(
        "clip-left-out", "optimizer", "the gradients are never clipped", FILE,
        *alike("if clip_norm is None:", "if clip_norm is not None:"), TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "gradients-clipped-always", "optimizer", "the gradients are also scaled up to the clipping norm", FILE,
        *alike(FACTOR, FACTOR.replace("norm > clip_norm", "norm > 0")), GRU, **UPDATE,
    ),
    *both_sides(
        "gradient-norm-without-root", "optimizer", "the gradient norm is left squared", FILE,
        ("get_total_norm(gradients.values())", "get_total_norm(gradients.values()) ** 2"),
        (f"jnp.sqrt({SQUARES})", SQUARES), TRANSFORMER, **GRADIENT,
    ),
    *both_sides(
        "gradient-norm-after-clipping", "optimizer", "the norm of the clipped gradients is logged", BACKEND,
        *alike('"gradient_norm": norm}', '"gradient_norm": global_norm(gradients)}'), GRU, **GRADIENT,
    ),
)

GROUPS = (
    *both_sides(
        "no-decay-group-ignored", "optimizer", "biases decay like everything else", FILE,
        *alike(DECAY, "optimizer.weight_decay"), TRANSFORMER, **UPDATE, divergence="D62",
    ),
    *both_sides(
        "no-decay-taken-for-no-wish", "optimizer", "a group's decay of 0.0 is treated as unset", FILE,
        *alike(DECAY, "group.weight_decay or optimizer.weight_decay"), GRU, **UPDATE, divergence="D62",
    ),
    *both_sides(
        "no-decay-at-all", "optimizer", "nothing decays, whatever its group", FILE,
        *alike("replace(optimizer, weight_decay=decay)", "replace(optimizer, weight_decay=0.0)"), GRU, **UPDATE,
    ),
    *both_sides(
        "rate-factor-ignored", "schedule", "all groups have the same learning rate", FILE,
        *alike("factor * learning_rate", "learning_rate"), TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "rate-divided-by-the-factor", "schedule", "the learning rate is divided by a group's factor", FILE,
        *alike("factor * learning_rate", "learning_rate / factor"), GRU, **UPDATE,
    ),
    *both_sides(
        "moments-given-swapped", "optimizer", "the rule receives the moments swapped", FILE,
        ("tuple(state), row)", "tuple(state[::-1]), row)"),
        ("tuple(state), coefficients)", "tuple(state[::-1]), coefficients)"), GRU, **UPDATE,
    ),
    Fault(
        "new-weights-thrown-away/jax", "optimizer", "jax", "the moments are kept and the weights stay as they were",
        (Change(f"jax_impl/{FILE}", "weights, state = rule", "_, state = rule"),), TRANSFORMER, **UPDATE,
    ),
)

FREEZES = (
    *both_sides(
        "frozen-decays", "optimizer", "frozen parameters still decay", FILE,
        *alike("dict(tensors[group]) for", "{name: 0.999 * tensor for name, tensor in tensors[group].items()} for"),
        FREEZING, **UPDATE,
    ),
    *both_sides(
        "frozen-in-the-norm", "optimizer", "the gradients of frozen parameters count in the norm", "objective.py",
        *alike("trainable_shapes(self.shapes, training.groups)", "self.shapes"), FREEZING, **GRADIENT,
    ),
)

AVERAGES = (
    *both_sides(
        "average-not-moved", "optimizer", "the average stays at the initial weights", FILE,
        *alike(AVERAGED, "tensors[AVERAGE]}"), GRU, **UPDATE, divergence="D62",
    ),
    *both_sides(
        "average-decay-swapped", "optimizer", "the decay is used as the share of the new weights", FILE,
        *alike(MIX, "(1 - decay) * average[name] + decay * weights[name]"), TRANSFORMER, **UPDATE,
    ),
    *both_sides(
        "average-undamped", "optimizer", "the new weights are added undamped", FILE,
        *alike(MIX, "decay * average[name] + weights[name]"), GRU, **UPDATE,
    ),
    Fault(
        "average-of-the-weights-before/torch", "optimizer", "torch", "the average is updated before the weights are",
        (Change(f"torch_impl/{FILE}", MOVED, "before = {name: weight.clone() for name, weight in "
                f"tensors[WEIGHTS].items()}}\n        {MOVED}"),
         Change(f"torch_impl/{FILE}", AVERAGED, AVERAGED.replace("moved[WEIGHTS]", "before"))),
        TRANSFORMER, **UPDATE,
    ),
    Fault(
        "average-of-the-weights-before/jax", "optimizer", "jax", "the average is updated before the weights are",
        (Change(f"jax_impl/{FILE}", AVERAGED, AVERAGED.replace("moved", "tensors")),), TRANSFORMER, **UPDATE,
    ),
)

ACCUMULATION = (
    *both_sides(
        "sum-of-means", "optimizer", "every batch counts equally, however few of its rows are real", FILE,
        *alike(SUMS, f"rows = rows / rows\n    {SUMS}"), ACCUMULATING, **UPDATE,
    ),
    *both_sides(
        "sum-not-divided", "optimizer", "the gradients are those of the sum of all losses", FILE,
        *alike(MEAN, "total"), ACCUMULATING, **GRADIENT,
    ),
    *both_sides(
        "sum-divided-by-batches", "optimizer", "the sum over all rows is divided by the number of batches", FILE,
        *alike(MEAN, "total / 2"), ACCUMULATING, **GRADIENT,
    ),
    *both_sides(
        "sum-not-emptied", "optimizer", "the gradients of earlier updates stay in the sum", FILE,
        ("torch.zeros_like(total)", "total"), ("jnp.zeros_like(total)", "total"), ACCUMULATING, **UPDATE,
    ),
    *both_sides(
        "rows-counted-on", "optimizer", "the sum is reset but its row count is not", FILE,
        ("torch.zeros_like(tensors[GATHERED])", "tensors[GATHERED]"),
        ("jnp.zeros_like(tensors[GATHERED])", "tensors[GATHERED]"), ACCUMULATING, **GRADIENT,
    ),
    *both_sides(
        "update-a-batch-early", "schedule", "the first batch triggers an update on its own", BACKEND,
        *alike(IS_LAST, 'state["step"] % self.training.accumulate == 0'), ACCUMULATING, **UPDATE,
    ),
    *both_sides(
        "update-a-batch-late", "schedule", "an update waits for one batch too many", BACKEND,
        *alike(IS_LAST, '(state["step"] + 1) % (self.training.accumulate + 1) == 0'), ACCUMULATING, **UPDATE,
    ),
    *both_sides(
        "update-numbered-by-the-batch", "schedule", "the optimiser receives the number of batches", BACKEND,
        *alike(NUMBER, '["step"] + 1'), ACCUMULATING, **UPDATE,
    ),
)
# fmt: on

UPDATES: tuple[Fault, ...] = (*CLIPPING, *GROUPS, *FREEZES, *AVERAGES, *ACCUMULATION)
EQUIVALENTS_UPDATES: tuple[Equivalent, ...] = (
    *both_sides_equal(
        "clip-by-smaller-factor",
        "the minimum of 1 and the quotient is used",
        FILE,
        (f"torch.where{FACTOR}", "(clip_norm / norm).clamp(max=1.0)"),
        (f"jnp.where{FACTOR}", "jnp.minimum(1.0, clip_norm / norm)"),
        GRU,
        mode="run",
    ),
    *both_sides_equal(
        "average-by-difference",
        "the average moves part of the way to the weights",
        FILE,
        *alike(MIX, "average[name] + (1 - decay) * (weights[name] - average[name])"),
        TRANSFORMER,
        mode="run",
    ),
    *both_sides_equal(
        "mean-of-scaled-gradients",
        "the sum is multiplied by the reciprocal of the row count",
        FILE,
        *alike(MEAN, "total * (1 / (rows + (rows == 0)))"),
        ACCUMULATING,
        mode="run",
    ),
)
