"""Harmless changes to attention, norms, blocks, losses and AdamW: the same numbers, computed differently."""

from crosscheck.faults.fault import Equivalent, alike, both_sides_equal

PARTS, LAYER = "layers/attention.py", "layers/multi_headed_attention.py"
NORM, BLOCKS, MODEL = "layers/layer_norm.py", "layers/attention_blocks.py", "models/transformer.py"
LOSSES, OPTIMIZER = "losses.py", "optimizer.py"
TORCH_MIN, JAX_MIN = "torch.finfo(wide.dtype).min", "jnp.finfo(wide.dtype).min"
TORCH_SCORES, JAX_SCORES = 'torch.einsum("...td,...sd->...ts", Q, K)', 'jnp.einsum("...td,...sd->...ts", Q, K)'
KEYS = "keys = self.split_heads(self.k_proj(hidden_states))"
TORCH_NORMED, JAX_NORMED = "centred / torch.sqrt(variance + self.eps)", "centred / jnp.sqrt(variance + self.eps)"
TORCH_LOG = "F.log_softmax(at_least_float32(logits), dim=-1)"
JAX_LOG = "jax.nn.log_softmax(at_least_float32(logits), axis=-1)"
STEP = "w - learning_rate * (m / correction_1 / (jnp.sqrt(v / correction_2) + eps) + weight_decay * w)"

# fmt: off
EQUIVALENTS_ATTENTION: tuple[Equivalent, ...] = (
    *both_sides_equal(
        "queries-scaled-first", "the queries are divided by sqrt(d), not the scores", PARTS,
        *alike("attn_scaled(pairwise_similarities(Q, K), n_embd, n_heads)",
               "pairwise_similarities(attn_scaled(Q, n_embd, n_heads), K)"),
        "self_attention",
    ),
    *both_sides_equal(
        "scores-by-matmul", "a matrix product replaces the einsum", PARTS,
        (TORCH_SCORES, "Q @ K.mT"), (JAX_SCORES, "Q @ K.mT"), "PreNormAttentionBlock", dtype="float32",
    ),
    *both_sides_equal(
        "mask-filled-with-minus-1e30", "hidden scores are -1e30, not the lowest number", PARTS,
        (TORCH_MIN, "-1e30"), (JAX_MIN, "-1e30"), "MultiHeadedAttention",
    ),
    *both_sides_equal(
        "mask-filled-with-minus-infinity", "hidden scores are -inf, and a hidden row's NaN never escapes", PARTS,
        (TORCH_MIN, "-math.inf"), (JAX_MIN, "-math.inf"), "MultiHeadedAttention", case="masked_row",
    ),
    *both_sides_equal(
        "keys-without-bias", "the key bias adds the same number to all scores of a query", LAYER,
        (KEYS, "keys = self.split_heads(self.k_proj(hidden_states) - self.k_proj.bias)"),
        (KEYS, "keys = self.split_heads(self.k_proj(hidden_states) - self.k_proj.bias[...])"), "MultiHeadedAttention",
    ),
    *both_sides_equal(
        "mask-for-all-queries", "the mask is repeated for every query instead of broadcast", LAYER,
        *alike("mask[:, None, None, :]", "mask[:, None, None, :] & (mask == mask)[:, None, :, None]"),
        "MultiHeadedAttention",
    ),
    *both_sides_equal(
        "norm-by-rsqrt", "the deviation is multiplied by 1 / root", NORM,
        (TORCH_NORMED, "centred * torch.rsqrt(variance + self.eps)"),
        (JAX_NORMED, "centred * jax.lax.rsqrt(variance + self.eps)"),
        "PostNormAttentionBlock", dtype="bfloat16",
    ),
    *both_sides_equal(
        "norm-shift-with-gradient", "a gradient flows through the shift, which the mean cancels", NORM,
        ("x[..., :1].detach()", "x[..., :1]"), ("jax.lax.stop_gradient(x[..., :1])", "x[..., :1]"), "LayerNorm",
    ),
    *both_sides_equal(
        "gelu-by-erf", "x (1 + erf(x / sqrt(2))) / 2 is written out", BLOCKS,
        ('F.gelu(self.in_proj(x), approximate="none")', "(h := self.in_proj(x)) * ((h / 2**0.5).erf() + 1) / 2"),
        ("jax.nn.gelu(self.in_proj(x), approximate=False)",
         "(h := self.in_proj(x)) * (jax.lax.erf(h / 2**0.5) + 1) / 2"),
        "MLP",
    ),
    *both_sides_equal(
        "pooled-after-the-norm", "all positions are normalised, then one is selected", MODEL,
        *alike("self.norm(x[:, 0])", "self.norm(x)[:, 0]"), "Transformer",
    ),
    *both_sides_equal(
        "log-softmax-by-logsumexp", "x - logsumexp(x) is written out", LOSSES,
        (TORCH_LOG, "logits - logits.logsumexp(-1, keepdim=True)"),
        (JAX_LOG, "logits - jax.nn.logsumexp(logits, -1, keepdims=True)"), "cross_entropy",
    ),
    *both_sides_equal(
        "mean-divisor-at-least-one", "max(total, 1), the same if any row counts", LOSSES,
        ("(total + (total == 0))", "total.clamp(min=1.0)"), ("(total + (total == 0))", "jnp.maximum(total, 1.0)"),
        "weighted_mean",
    ),
    *both_sides_equal(
        "adamw-decays-first", "the decay comes before the step; in torch in the loop, not the fused kernel",
        OPTIMIZER, ("fused=_may_be_fused(weights, gradients, exp_avg, exp_avg_sq)", "fused=False"),
        (STEP, f"w * (1 - learning_rate * weight_decay){STEP[1:].replace(' + weight_decay * w', '')}"),
        "MLP", mode="train",
    ),
)
# fmt: on
