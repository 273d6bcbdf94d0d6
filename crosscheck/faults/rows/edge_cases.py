"""Faults that only inputs at the border show: a mask of integers, scores whose exponential overflows, no real row."""

from crosscheck.faults.fault import Fault, alike, both_sides

# fmt: off
BORDERS: tuple[Fault, ...] = (
    *both_sides(
        "padding-mask-inverted-bitwise", "mask", "~mask is taken for not mask, which it is for booleans alone",
        "layers/attention.py",
        ("visible = mask != 0", "visible = ~(~mask).to(torch.bool)"),
        ("visible = mask != 0", "visible = ~(~mask).astype(bool)"), "MultiHeadedAttention", case="masked_row",
    ),
    *both_sides(
        "loss-by-logarithm-of-softmax", "loss", "the softmax is taken first and then its logarithm, unshifted",
        "losses.py",
        ("F.log_softmax(at_least_float32(logits), dim=-1)",
         "at_least_float32(logits) - at_least_float32(logits).exp().sum(-1, keepdim=True).log()"),
        ("jax.nn.log_softmax(at_least_float32(logits), axis=-1)",
         "at_least_float32(logits) - jnp.log(jnp.exp(at_least_float32(logits)).sum(-1, keepdims=True))"),
        "cross_entropy", case="large_scores",
    ),
    *both_sides(
        "mean-of-no-row-not-a-number", "loss", "a batch without a real row is divided by 0", "losses.py",
        *alike("/ (total + (total == 0))", "/ total"), "weighted_mean", case="no_real_row",
    ),
)
# fmt: on
