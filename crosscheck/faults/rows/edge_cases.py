"""Faults that show only on edge-case inputs: an integer mask, scores whose exponential overflows, no real row."""

from crosscheck.faults.fault import Fault, alike, both_sides

# fmt: off
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
