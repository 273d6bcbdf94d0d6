"""Faults in the loss: what it averages, over how many rows, and what it takes the logarithm of.

The last ones show only on edge-case inputs: an integer mask, scores whose exponential overflows, no real row.
"""

from crosscheck.faults.fault import Change, Fault, alike, both_sides

FILE = "losses.py"
TORCH_LOG, JAX_LOG = (
    "F.log_softmax(at_least_float32(logits), dim=-1)",
    "jax.nn.log_softmax(at_least_float32(logits), axis=-1)",
)
TORCH_PICKED = "return -log_probabilities.gather(-1, labels[..., None].long())[..., 0]"
JAX_PICKED = "return -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]"
MEAN = "return (weights * values).sum() / (total + (total == 0))"

# fmt: off
CROSS_ENTROPY = (
    *both_sides(
        "loss-of-probabilities", "loss", "the logarithm is missing", FILE,
        (TORCH_LOG, "F.softmax(at_least_float32(logits), dim=-1)"),
        (JAX_LOG, "jax.nn.softmax(at_least_float32(logits), axis=-1)"), "cross_entropy",
    ),
    *both_sides(
        "loss-normalised-over-the-batch", "loss", "the softmax runs over the examples", FILE,
        (TORCH_LOG, "F.log_softmax(at_least_float32(logits), dim=0)"),
        (JAX_LOG, "jax.nn.log_softmax(at_least_float32(logits), axis=0)"), "cross_entropy",
    ),
    *both_sides(
        "loss-eps-in-the-logarithm", "loss", "1e-8 is added to the probabilities", FILE,
        (TORCH_LOG, "(F.softmax(at_least_float32(logits), dim=-1) + 1e-8).log()"),
        (JAX_LOG, "jnp.log(jax.nn.softmax(at_least_float32(logits), axis=-1) + 1e-8)"), "cross_entropy",
    ),
    *both_sides(
        "loss-in-bits", "loss", "the logarithm is base 2", FILE,
        (TORCH_LOG, f"{TORCH_LOG} / at_least_float32(logits).new_tensor(2.0).log()"),
        (JAX_LOG, f"{JAX_LOG} / jnp.log(2.0)"), "cross_entropy",
    ),
    *both_sides(
        "loss-with-smoothed-labels", "loss", "a tenth of the label is spread over all classes", FILE,
        (TORCH_PICKED, f"{TORCH_PICKED} * 0.9 - 0.1 * log_probabilities.mean(-1)"),
        (JAX_PICKED, f"{JAX_PICKED} * 0.9 - 0.1 * log_probabilities.mean(-1)"), "cross_entropy",
    ),
    *both_sides(
        "loss-ignores-class-zero", "loss", "label 0 counts as padding", FILE,
        (TORCH_PICKED, f"{TORCH_PICKED} * (labels != 0)"), (JAX_PICKED, f"{JAX_PICKED} * (labels != 0)"),
        "cross_entropy", divergence="D30",
    ),
    *both_sides(
        "loss-without-the-softmax-gradient", "loss", "the normaliser is treated as a constant", FILE,
        (TORCH_LOG, "logits - at_least_float32(logits).logsumexp(-1, keepdim=True).detach()"),
        (JAX_LOG, "logits - jax.lax.stop_gradient(jax.nn.logsumexp(at_least_float32(logits), -1, keepdims=True))"),
        "cross_entropy", "", "input gradient",
    ),
    *both_sides(
        "least-likely-class", "loss", "the class of the smallest logit is predicted", FILE,
        *alike("logits.argmax(", "logits.argmin("), "predicted_classes",
    ),
    Fault(
        "loss-labels-counted-from-one/jax", "loss", "jax", "labels are read as 1 to C, and -1 wraps around silently",
        (Change(f"jax_impl/{FILE}", "labels[..., None]", "labels[..., None] - 1"),), "cross_entropy", "", "forward",
    ),
)

WEIGHTED_MEAN = (
    *both_sides(
        "mean-over-filled-rows", "loss", "the sum is divided by all rows of the batch, not the real ones", FILE,
        *alike(MEAN, "return (weights * values).sum() / len(values)"), "weighted_mean", divergence="D31",
    ),
    *both_sides(
        "mean-without-weights", "loss", "rows that only fill the batch are counted", FILE,
        *alike(MEAN, "return (1.0 * values).mean()"), "weighted_mean", divergence="D31",
    ),
    *both_sides(
        "mean-of-the-sum", "loss", "the rows are summed, not averaged", FILE,
        *alike(MEAN, "return (weights * values).sum()"), "weighted_mean",
    ),
    *both_sides(
        "mean-of-the-other-rows", "loss", "the weights mark the rows to leave out", FILE,
        *alike(MEAN, "return ((1 - weights) * values).sum() / (total + (total == 0))"), "weighted_mean",
    ),
    *both_sides(
        "mean-with-eps", "loss", "1e-6 is added to the divisor", FILE,
        *alike(MEAN, "return (weights * values).sum() / (total + 1e-6)"), "weighted_mean",
    ),
    *both_sides(
        "mean-without-gradient-of-the-rows", "loss", "only the divisor carries a gradient", FILE,
        (MEAN, "return (weights * values).detach().sum() / (total + (total == 0))"),
        (MEAN, "return jax.lax.stop_gradient(weights * values).sum() / (total + (total == 0))"),
        "weighted_mean", "", "input gradient",
    ),
    Fault(
        "mean-divisor-at-its-bound/jax", "loss", "jax", "max(total, 1) halves the gradient where the total is 1",
        (Change(f"jax_impl/{FILE}", "(total + (total == 0))", "jnp.maximum(total, 1.0)"),),
        "weighted_mean", "", "input gradient", case="one_example", divergence="D46",
    ),
)

BORDERS: tuple[Fault, ...] = (
    *both_sides(
        "padding-mask-inverted-bitwise", "mask", "~mask is used as logical not, which holds only for booleans",
        "layers/attention.py",
        ("visible = mask != 0", "visible = ~(~mask).to(torch.bool)"),
        ("visible = mask != 0", "visible = ~(~mask).astype(bool)"), "MultiHeadedAttention", case="masked_row",
    ),
    *both_sides(
        "loss-by-logarithm-of-softmax", "loss", "the softmax is computed unshifted before its logarithm",
        "losses.py",
        ("F.log_softmax(at_least_float32(logits), dim=-1)",
         "at_least_float32(logits) - at_least_float32(logits).exp().sum(-1, keepdim=True).log()"),
        ("jax.nn.log_softmax(at_least_float32(logits), axis=-1)",
         "at_least_float32(logits) - jnp.log(jnp.exp(at_least_float32(logits)).sum(-1, keepdims=True))"),
        "cross_entropy", case="large_scores",
    ),
    *both_sides(
        "mean-of-no-row-not-a-number", "loss", "a batch without real rows is divided by 0", "losses.py",
        *alike("/ (total + (total == 0))", "/ total"), "weighted_mean", case="no_real_row",
    ),
)
# fmt: on

LOSSES: tuple[Fault, ...] = (*CROSS_ENTROPY, *WEIGHTED_MEAN)
