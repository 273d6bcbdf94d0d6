"""Faults in attention: scale and softmax, masks, heads, and stopped gradients."""

from crosscheck.faults.fault import Fault, alike, both_sides

PARTS, LAYER = "layers/attention.py", "layers/multi_headed_attention.py"
SCALE = "return A / math.sqrt(n_embd / n_heads)"
ATTEND = "self.out_proj(self.apply_attention(queries, keys, values, mask))"
OUTPUTS = '"...ts,...sd->...td", A, V'
SPLIT = "return x.reshape(batch_size, n_tok, n_heads, width // n_heads).swapaxes(1, 2)"
MERGE = "return y.swapaxes(1, 2).reshape(batch_size, n_tok, n_heads * width)"
HIDE = {
    "torch": "torch.where(visible, wide, torch.finfo(wide.dtype).min)",
    "jax": "jnp.where(visible, wide, jnp.finfo(wide.dtype).min)",
}
SHOWN = {
    "torch": "return torch.where(visible, weights, 0.0)",
    "jax": "return jnp.where(visible, weights, 0.0)",
}
CAUSAL = {
    "torch": "torch.ones(n_tok, n_tok, dtype=torch.bool).tril()",
    "jax": "jnp.tril(jnp.ones((n_tok, n_tok), dtype=bool))",
}

# fmt: off
SCORES = (
    *both_sides(
        "attention-scale-missing", "layer", "the scores are not divided by sqrt(d)", PARTS,
        *alike(SCALE, "return A"), "MultiHeadedAttention",
    ),
    *both_sides(
        "attention-scale-without-root", "layer", "the scores are divided by d, not by its root", PARTS,
        *alike(SCALE, "return A / (n_embd / n_heads)"), "attn_scaled",
    ),
    *both_sides(
        "attention-scale-of-all-heads", "layer", "the scores are divided by the root of the whole width", PARTS,
        *alike(SCALE, "return A / math.sqrt(n_embd)"), "PreNormAttentionBlock", "attention",
    ),
    *both_sides(
        "attention-scale-multiplied", "layer", "the scores are multiplied by sqrt(d)", PARTS,
        *alike(SCALE, "return A * math.sqrt(n_embd / n_heads)"), "self_attention:not_causal",
    ),
    *both_sides(
        "attention-head-width-divided-twice", "layer", "the head width is divided by the number of heads again", LAYER,
        *alike("queries.shape[-1] * self.num_heads, self.num_heads", "queries.shape[-1], self.num_heads"),
        "Transformer", "blocks.0.attention",
    ),
    *both_sides(
        "attention-queries-and-keys-swapped", "layer", "queries and keys trade places", LAYER,
        *alike(ATTEND, "self.out_proj(self.apply_attention(keys, queries, values, mask))"),
        "PostNormAttentionBlock", "attention",
    ),
    *both_sides(
        "attention-keys-and-values-swapped", "layer", "values are scored and keys are averaged", LAYER,
        *alike(ATTEND, "self.out_proj(self.apply_attention(queries, values, keys, mask))"), "MultiHeadedAttention",
    ),
    *both_sides(
        "attention-without-output-projection", "layer", "the heads are merged but not projected", LAYER,
        *alike(ATTEND, "self.apply_attention(queries, keys, values, mask)"), "PreNormAttentionBlock", "attention",
    ),
    *both_sides(
        "attention-softmax-over-queries", "layer", "each key's weights sum to 1, not each query's", LAYER,
        *alike("masked_softmax(scores, mask, axis=-1)", "masked_softmax(scores, mask, axis=-2)"),
        "MultiHeadedAttention",
    ),
    *both_sides(
        "attention-softmax-over-heads", "layer", "the softmax runs over the heads", LAYER,
        *alike("masked_softmax(scores, mask, axis=-1)", "masked_softmax(scores, mask, axis=1)"),
        "PreNormAttentionBlock", "attention",
    ),
    *both_sides(
        "attention-softmax-of-base-two", "layer", "the softmax uses powers of 2 without log2(e) in the scores", PARTS,
        ("at_least_float32(A), dim", "at_least_float32(A) * math.log(2), dim"),
        ("at_least_float32(A), axis", "at_least_float32(A) * math.log(2), axis"), "attn_softmax",
    ),
    *both_sides(
        "attention-weights-transposed", "layer", "the weights are applied transposed, from the keys' side", PARTS,
        *alike(OUTPUTS, '"...st,...sd->...td", A, V'),
        "ReviewClassifierTransformer", "transformer.blocks.0.attention",
    ),
    *both_sides(
        "self-attention-of-the-keys", "layer", "the outputs are means of the keys", PARTS,
        *alike("compute_outputs(attn_softmax(A), V)", "compute_outputs(attn_softmax(A), K)"), "self_attention",
    ),
)

HEADS = (
    *both_sides(
        "heads-cut-with-the-head-inside", "layer", "index k * heads + head of the width becomes (head, k)", PARTS,
        (SPLIT, "return x.reshape(batch_size, n_tok, width // n_heads, n_heads).permute(0, 3, 1, 2)"),
        (SPLIT, "return x.reshape(batch_size, n_tok, width // n_heads, n_heads).transpose(0, 3, 1, 2)"),
        "MultiHeadedAttention", divergence="D09",
    ),
    *both_sides(
        "heads-cut-without-transposing", "layer", "heads are split across time and width together", PARTS,
        *alike(SPLIT, "return x.reshape(batch_size, n_heads, n_tok, width // n_heads)"), "split_heads",
    ),
    *both_sides(
        "heads-joined-with-the-head-inside", "layer", "(head, k) becomes index k * heads + head of the width", PARTS,
        (MERGE, "return y.permute(0, 2, 3, 1).reshape(batch_size, n_tok, n_heads * width)"),
        (MERGE, "return y.transpose(0, 2, 3, 1).reshape(batch_size, n_tok, n_heads * width)"),
        "merge_heads", divergence="D09",
    ),
    *both_sides(
        "heads-joined-without-transposing", "layer", "heads are merged in memory order", PARTS,
        *alike(MERGE, "return y.reshape(batch_size, n_tok, n_heads * width)"), "PreNormAttentionBlock", "attention",
    ),
    *both_sides(
        "head-count-and-width-swapped", "layer", "the number of heads is the intended head width", LAYER,
        *alike("self.num_heads = num_heads", "self.num_heads = head_size"), "PostNormAttentionBlock", "attention",
    ),
    *both_sides(
        "one-head-for-all", "layer", "the width is not split into heads", LAYER,
        *alike("attention.split_heads(x, self.num_heads)", "attention.split_heads(x, 1)"), "MultiHeadedAttention",
    ),
)

MASKS = (
    *both_sides(
        "padding-mask-upside-down", "mask", "1 means ignore, as in nn.MultiheadAttention", PARTS,
        *alike("visible = mask != 0", "visible = mask == 0"), "MultiHeadedAttention", divergence="D38",
    ),
    *both_sides(
        "padding-mask-after-the-softmax", "mask", "hidden keys still take part in the softmax", PARTS,
        (HIDE["torch"], "wide"), (HIDE["jax"], "wide"), "PreNormAttentionBlock", "attention",
    ),
    *both_sides(
        "padding-mask-added-as-it-is", "mask", "1 is added to the visible scores and 0 to the hidden ones", PARTS,
        (HIDE["torch"], "wide + visible"), (HIDE["jax"], "wide + visible"), "masked_softmax",
    ),
    *both_sides(
        "padding-mask-filled-with-tiny", "mask", "hidden scores are the smallest positive number, in effect 0", PARTS,
        (HIDE["torch"], "torch.where(visible, wide, torch.finfo(wide.dtype).tiny)"),
        (HIDE["jax"], "jnp.where(visible, wide, jnp.finfo(wide.dtype).tiny)"),
        "Transformer:postnorm", "blocks.0.attention", divergence="D37",
    ),
    *both_sides(
        "padding-mask-not-applied", "mask", "padding is attended to", LAYER,
        *alike("masked_softmax(scores, mask, axis=-1)", "masked_softmax(scores, None, axis=-1)"),
        "ReviewClassifierTransformer", "transformer.blocks.0.attention",
    ),
    *both_sides(
        "padding-mask-on-the-queries", "mask", "padded queries are hidden, padded keys are not", LAYER,
        *alike("mask[:, None, None, :]", "mask[:, None, :, None]"), "MultiHeadedAttention",
    ),
    *both_sides(
        "hidden-row-averages", "mask", "a fully masked row gives the mean of the values", PARTS,
        (SHOWN["torch"], "return weights"), (SHOWN["jax"], "return weights"),
        "masked_softmax", case="masked_row", divergence="D36",
    ),
    *both_sides(
        "hidden-row-not-a-number", "mask", "a fully masked row gives NaN", PARTS,
        (f"weights = torch.softmax({HIDE['torch']}, dim=axis)\n    {SHOWN['torch']}",
         "return torch.softmax(torch.where(visible, wide, -math.inf), dim=axis)"),
        (f"weights = jax.nn.softmax({HIDE['jax']}, axis=axis)\n    {SHOWN['jax']}",
         "return jax.nn.softmax(jnp.where(visible, wide, -math.inf), axis=axis)"),
        "MultiHeadedAttention", case="masked_row", divergence="D36",
    ),
    *both_sides(
        "causal-mask-sees-the-next", "mask", "a query sees the next key", PARTS,
        (CAUSAL["torch"], "torch.ones(n_tok, n_tok, dtype=torch.bool).tril(1)"),
        (CAUSAL["jax"], "jnp.tril(jnp.ones((n_tok, n_tok), dtype=bool), 1)"), "self_attention",
    ),
    *both_sides(
        "causal-mask-hides-itself", "mask", "a query sees only the keys before it", PARTS,
        (CAUSAL["torch"], "torch.ones(n_tok, n_tok, dtype=torch.bool).tril(-1)"),
        (CAUSAL["jax"], "jnp.tril(jnp.ones((n_tok, n_tok), dtype=bool), -1)"), "make_causal_mask",
    ),
    *both_sides(
        "causal-mask-sees-the-future", "mask", "the triangle is the upper one", PARTS,
        (CAUSAL["torch"], "torch.ones(n_tok, n_tok, dtype=torch.bool).triu()"),
        (CAUSAL["jax"], "jnp.triu(jnp.ones((n_tok, n_tok), dtype=bool))"), "self_attention",
    ),
    *both_sides(
        "causal-mask-upside-down", "mask", "True hides, as in PyTorch's own modules", PARTS,
        ("mask.to(A.device) != 0", "mask.to(A.device) == 0"), ("where(mask != 0", "where(mask == 0"),
        "apply_causal_mask", divergence="D38",
    ),
    *both_sides(
        "causal-mask-always", "mask", "non-causal attention is causal", PARTS,
        *alike("    if causal:", "    if causal is not None:"), "self_attention:not_causal",
    ),
)

STOPPED = (
    *both_sides(
        "attention-keys-without-gradient", "layer", "no gradient flows into the keys", PARTS,
        ('"...td,...sd->...ts", Q, K', '"...td,...sd->...ts", Q, K.detach()'),
        ('"...td,...sd->...ts", Q, K', '"...td,...sd->...ts", Q, jax.lax.stop_gradient(K)'),
        "pairwise_similarities", "", "input gradient",
    ),
    *both_sides(
        "attention-values-without-gradient", "layer", "no gradient flows into the values", PARTS,
        (OUTPUTS, '"...ts,...sd->...td", A, V.detach()'),
        (OUTPUTS, '"...ts,...sd->...td", A, jax.lax.stop_gradient(V)'),
        "PreNormAttentionBlock", "attention", "input gradient",
    ),
    *both_sides(
        "attention-weights-without-gradient", "layer", "the weights are treated as constants", PARTS,
        (SHOWN["torch"], "return torch.where(visible, weights.detach(), 0.0)"),
        (SHOWN["jax"], "return jnp.where(visible, jax.lax.stop_gradient(weights), 0.0)"),
        "Transformer", "blocks.1.attention", "input gradient",
    ),
    *both_sides(
        "softmax-divisor-without-gradient", "layer", "the softmax divisor is treated as a constant", PARTS,
        (f"torch.softmax({HIDE['torch']}, dim=axis)",
         f"{HIDE['torch']}.exp()\n    weights = weights / weights.sum(dim=axis, keepdim=True).detach()"),
        (f"jax.nn.softmax({HIDE['jax']}, axis=axis)",
         f"jnp.exp({HIDE['jax']})\n    weights = weights / jax.lax.stop_gradient(weights.sum(axis, keepdims=True))"),
        "MultiHeadedAttention", "", "input gradient",
    ),
)
# fmt: on

ATTENTION: tuple[Fault, ...] = (*SCORES, *HEADS, *MASKS, *STOPPED)
