"""Faults in AdamW: decay, bias corrections, moments and eps. JAX has the formula, torch the arguments."""

from crosscheck.faults.fault import Change, Fault, both_sides

FILE = "optimizer.py"
TORCH_DECAY = "weight_decay=self.config.weight_decay,\n            amsgrad=False"  # the other rules have no amsgrad
JAX_DECAY = "self.config.eps, self.config.weight_decay"
TORCH_BETAS = "beta1=self.config.beta_1,\n            beta2=self.config.beta_2,"
TORCH_EPS = f"{TORCH_BETAS}\n            eps=self.config.eps"
JAX_BETAS = "beta_1, beta_2 = self.config.beta_1, self.config.beta_2"
TORCH_COUNTERS = "torch.full((len(weights),), step - 1)"
CORRECTIONS = "return 1 - self.config.beta_1**step, 1 - self.config.beta_2**step, learning_rate"
TORCH_GROUPS = "adamw(\n            *groups,"
JAX_MOMENT = "exp_avg = jax.tree.map(lambda m, g"
ADAM = "m / correction_1 / (jnp.sqrt(v / correction_2) + eps)"
MOVED = f"return w - learning_rate * ({ADAM} + weight_decay * w)"
UPDATE = {"phase": "update", "mode": "train"}


def _in_jax(name: str, what: str, old: str, new: str, twin: str, divergence: str | None = None) -> Fault:
    change = Change(f"jax_impl/{FILE}", old, new)
    return Fault(f"{name}/jax", "optimizer", "jax", what, (change,), twin, "optimizer", **UPDATE, divergence=divergence)


def _in_torch(name: str, what: str, old: str, new: str, twin: str) -> Fault:
    change = Change(f"torch_impl/{FILE}", old, new)
    return Fault(f"{name}/torch", "optimizer", "torch", what, (change,), twin, "optimizer", **UPDATE)


def _decay(value: str) -> str:
    return TORCH_DECAY.replace("self.config.weight_decay", value)


# fmt: off
DECAY = (
    *both_sides(
        "decay-in-the-gradient", "optimizer", "the decay is added to the gradient as L2, so Adam rescales it", FILE,
        ("adamw(", "from torch.optim.adam import adam\n\n        adam("),
        (JAX_MOMENT, "gradients = jax.tree.map(lambda g, w: g + weight_decay * w, gradients, weights)\n"
         f"        weight_decay = 0.0\n        {JAX_MOMENT}"),
        "MLP", "optimizer", **UPDATE, divergence="D57",
    ),
    *both_sides(
        "decay-of-optax", "optimizer", "the decay is 1e-4, optax's default, whatever the config says", FILE,
        (TORCH_DECAY, _decay("1e-4")), (JAX_DECAY, "self.config.eps, 1e-4"),
        "Linear", "optimizer", **UPDATE, divergence="D56",
    ),
    *both_sides(
        "decay-left-out", "optimizer", "the weights do not decay", FILE,
        (TORCH_DECAY, _decay("0.0")), (JAX_DECAY, "self.config.eps, 0.0"), "LayerNorm", "optimizer", **UPDATE,
    ),
    *both_sides(
        "decay-halved", "optimizer", "the decay is halved", FILE,
        (TORCH_DECAY, _decay("self.config.weight_decay / 2")), (JAX_DECAY, f"{JAX_DECAY} / 2"),
        "MLP", "optimizer", **UPDATE,
    ),
    *both_sides(
        "decay-without-the-rate", "optimizer", "the decay is not multiplied by the learning rate", FILE,
        (TORCH_DECAY, _decay("self.config.weight_decay / learning_rate")),
        (MOVED, f"return w - learning_rate * ({ADAM}) - weight_decay * w"), "Linear", "optimizer", **UPDATE,
    ),
    *both_sides(
        "decay-with-the-first-rate", "schedule", "the decay does not follow the schedule", FILE,
        (TORCH_DECAY, _decay("self.config.weight_decay * self.config.learning_rate / learning_rate")),
        (MOVED, f"return w - learning_rate * ({ADAM}) - self.config.learning_rate * weight_decay * w"),
        "MLP", "optimizer", **UPDATE,
    ),
    *both_sides(
        "decay-away-from-zero", "optimizer", "the decay has the wrong sign", FILE,
        (TORCH_DECAY, _decay("-self.config.weight_decay")),
        (JAX_DECAY, "self.config.eps, -self.config.weight_decay"), "Linear", "optimizer", **UPDATE,
    ),
    _in_jax(
        "decay-after-the-step", "the decay is taken from the weights after the step",
        MOVED, f"moved = w - learning_rate * ({ADAM})\n            return moved - learning_rate * weight_decay * moved",
        "MLP",
    ),
    _in_jax(
        "decay-spares-biases", "one-dimensional tensors do not decay",
        "weight_decay * w)", "weight_decay * w * (w.ndim > 1))", "Linear", "D62",
    ),
)

STEPS = (
    *both_sides(
        "corrections-left-out", "optimizer", "the moments are not bias-corrected", FILE,
        ("return float(step), learning_rate", "return 1e9, learning_rate"),
        (CORRECTIONS, "return 1.0, 1.0, learning_rate"), "MLP", "optimizer", **UPDATE,
    ),
    *both_sides(
        "steps-counted-from-zero", "optimizer", "the first step divides by 1 - beta^0 = 0", FILE,
        (TORCH_COUNTERS, "torch.full((len(weights),), step - 2)"),
        (CORRECTIONS, f"step -= 1\n        {CORRECTIONS}"),
        "Linear", "optimizer", **UPDATE,
    ),
    *both_sides(
        "steps-counted-from-two", "optimizer", "the corrections are one step ahead", FILE,
        (TORCH_COUNTERS, "torch.full((len(weights),), step)"),
        (CORRECTIONS, f"step += 1\n        {CORRECTIONS}"),
        "LayerNorm", "optimizer", **UPDATE,
    ),
    *both_sides(
        "steps-not-counted", "optimizer", "every step is corrected as if it were the first", FILE,
        (TORCH_COUNTERS, "torch.full((len(weights),), 0.0)"),
        (CORRECTIONS, "return 1 - self.config.beta_1, 1 - self.config.beta_2, learning_rate"),
        "MLP", "optimizer", **UPDATE,
    ),
    _in_jax(
        "first-correction-left-out", "only the second moment is corrected",
        CORRECTIONS, "return 1.0, 1 - self.config.beta_2**step, learning_rate", "Linear",
    ),
    _in_jax(
        "second-correction-left-out", "only the first moment is corrected",
        CORRECTIONS, "return 1 - self.config.beta_1**step, 1.0, learning_rate", "MLP",
    ),
    _in_jax(
        "corrections-swapped", "each moment gets the other's correction",
        "correction_1, correction_2, learning_rate = ", "correction_2, correction_1, learning_rate = ", "Linear",
    ),
    _in_torch(
        "one-counter-for-all", "all tensors share one step counter, which each increments",
        "list(counters.unbind())", "[counters[0]] * len(weights)", "MLP",
    ),
)

MOMENTS = (
    *both_sides(
        "betas-swapped", "optimizer", "each moment decays with the other's beta", FILE,
        (TORCH_BETAS, "beta1=self.config.beta_2,\n            beta2=self.config.beta_1,"),
        (JAX_BETAS, "beta_1, beta_2 = self.config.beta_2, self.config.beta_1"), "Linear", "optimizer", **UPDATE,
    ),
    *both_sides(
        "beta-2-by-default", "optimizer", "beta_2 is 0.999, whatever the config says", FILE,
        (TORCH_BETAS, "beta1=self.config.beta_1,\n            beta2=0.999,"),
        (JAX_BETAS, "beta_1, beta_2 = self.config.beta_1, 0.999"), "MLP", "optimizer", **UPDATE,
    ),
    *both_sides(
        "eps-of-keras", "optimizer", "eps is 1e-7, whatever the config says", FILE,
        (TORCH_EPS, TORCH_EPS.replace("self.config.eps", "1e-7")), (JAX_DECAY, "1e-7, self.config.weight_decay"),
        "Linear", "optimizer", **UPDATE,
    ),
    *both_sides(
        "loss-climbed", "optimizer", "the steps ascend the gradient", FILE,
        ("amsgrad=False,\n            maximize=False", "amsgrad=False,\n            maximize=True"),
        (JAX_MOMENT, f"gradients = jax.tree.map(jnp.negative, gradients)\n        {JAX_MOMENT}"),
        "PreNormAttentionBlock", "optimizer", **UPDATE,
    ),
    *both_sides(
        "gradients-of-norm-one", "optimizer", "each tensor's gradient is divided by its norm", FILE,
        (TORCH_GROUPS, "adamw(groups[0], [each / each.norm() for each in groups[1]], *groups[2:],"),
        (JAX_MOMENT, f"gradients = jax.tree.map(lambda g: g / jnp.linalg.norm(g), gradients)\n        {JAX_MOMENT}"),
        "Linear", "optimizer", **UPDATE,
    ),
    *both_sides(
        "moments-returned-swapped", "optimizer", "each moment is stored in the other's place", FILE,
        ("return weights, (exp_avg, exp_avg_sq)", "return weights, (exp_avg_sq, exp_avg)"),
        ("exp_avg_sq), (exp_avg, exp_avg_sq)", "exp_avg_sq), (exp_avg_sq, exp_avg)"), "MLP", "optimizer", **UPDATE,
    ),
    _in_torch(
        "first-moment-not-kept", "the first moment is updated in a copy and discarded",
        TORCH_GROUPS, "adamw(*groups[:2], [each.clone() for each in groups[2]], groups[3],", "Linear",
    ),
    _in_jax(
        "eps-inside-the-root", "eps is added to the second moment, not to its root",
        "(jnp.sqrt(v / correction_2) + eps)", "jnp.sqrt(v / correction_2 + eps)", "MLP", "D58",
    ),
    _in_jax(
        "eps-before-the-correction", "eps is added before the second moment is corrected, as in Adam's short form",
        "(jnp.sqrt(v / correction_2) + eps)", "((jnp.sqrt(v) + eps) / jnp.sqrt(correction_2))", "Linear",
    ),
    _in_jax(
        "first-moment-undamped", "the gradient is added undamped, as in SGD momentum",
        "beta_1 * m + (1 - beta_1) * g", "beta_1 * m + g", "MLP",
    ),
    _in_jax(
        "second-moment-of-the-first", "the mean of the gradients is squared, not each gradient",
        "(1 - beta_2) * g * g, exp_avg_sq, gradients", "(1 - beta_2) * g * g, exp_avg_sq, exp_avg", "MLP",
    ),
)
# fmt: on

OPTIMIZERS: tuple[Fault, ...] = (*DECAY, *STEPS, *MOMENTS)
