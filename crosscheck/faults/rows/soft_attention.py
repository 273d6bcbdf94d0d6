"""Faults in the decoder's soft attention."""

from crosscheck.faults.fault import alike, both_sides

FILE = "layers/soft_attention.py"
OUTPUTS = "outputs = inputs * self.dropout(weights)"
LAST = {
    "torch": "last = hidden_states[-1][:, None].expand_as(inputs)",
    "jax": "last = jnp.broadcast_to(hidden_states[-1][:, None], inputs.shape)",
}
WEIGHTS = {
    "torch": "weights = masked_softmax(energy.sum(dim=-1), mask, axis=1)[..., None]",
    "jax": "weights = masked_softmax(energy.sum(axis=-1), mask, axis=1)[..., None]",
}
ENERGY = {
    "torch": "self.V(torch.tanh(self.W(torch.cat([inputs, last], dim=-1))))",
    "jax": "self.V(jnp.tanh(self.W(jnp.concatenate([inputs, last], axis=-1))))",
}
STOP = "from jax.lax import stop_gradient\n\n        "

# Short rows are easier to scan.
# fmt: off
SCORES = (
    *both_sides(
        "soft-attention-mean-score", "layer", "the score is the mean over the features, not their sum", FILE,
        ("energy.sum(dim=-1)", "energy.mean(dim=-1)"), ("energy.sum(axis=-1)", "energy.mean(axis=-1)"), "Attn",
    ),
    *both_sides(
        "soft-attention-scaled-score", "layer", "the score is divided by the square root of the width", FILE,
        ("energy.sum(dim=-1)", "energy.sum(dim=-1) / inputs.shape[-1] ** 0.5"),
        ("energy.sum(axis=-1)", "energy.sum(axis=-1) / inputs.shape[-1] ** 0.5"), "DecoderAttn", "attention",
    ),
    *both_sides(
        "soft-attention-first-layer-state", "layer", "the score uses the first layer's state", FILE,
        *alike("hidden_states[-1][:, None]", "hidden_states[0][:, None]"), "Attn",
    ),
    *both_sides(
        "soft-attention-state-first", "layer", "the state comes before the inputs in the score", FILE,
        *alike("[inputs, last]", "[last, inputs]"), "EncoderDecoder", "decoder.attention",
    ),
    *both_sides(
        "soft-attention-without-tanh", "layer", "the score has no tanh", FILE,
        (ENERGY["torch"], "self.V(self.W(torch.cat([inputs, last], dim=-1)))"),
        (ENERGY["jax"], "self.V(self.W(jnp.concatenate([inputs, last], axis=-1)))"), "Attn:context",
    ),
    *both_sides(
        "soft-attention-tanh-outside", "layer", "tanh is applied after V, not before", FILE,
        (ENERGY["torch"], "torch.tanh(self.V(self.W(torch.cat([inputs, last], dim=-1))))"),
        (ENERGY["jax"], "jnp.tanh(self.V(self.W(jnp.concatenate([inputs, last], axis=-1))))"),
        "DecoderAttn", "attention",
    ),
    *both_sides(
        "soft-attention-over-batch", "layer", "the softmax runs over the examples", FILE,
        *alike("mask, axis=1)", "mask, axis=0)"), "Attn",
    ),
    *both_sides(
        "soft-attention-score-in-bfloat16", "precision", "scores are rounded to bfloat16 before the softmax", FILE,
        (f"{WEIGHTS['torch']}", "energy = energy.sum(dim=-1, keepdim=True).bfloat16().type_as(energy)\n        "
         + WEIGHTS["torch"]),
        (f"{WEIGHTS['jax']}", "energy = energy.sum(axis=-1, keepdims=True).astype(jnp.bfloat16).astype(energy.dtype)"
         "\n        " + WEIGHTS["jax"]), "Attn", dtype="float32", divergence="D51",
    ),
)

MASKS = (
    *both_sides(
        "soft-attention-mask-ignored", "mask", "padding takes part in the softmax", FILE,
        *alike("mask, axis=1)", "None, axis=1)"), "Attn",
    ),
    *both_sides(
        "soft-attention-mask-inverted", "mask", "a true mask means padding, as in nn.MultiheadAttention", FILE,
        *alike("mask, axis=1)", "~mask, axis=1)"), "DecoderAttn", "attention", divergence="D38",
    ),
    *both_sides(
        "soft-attention-mask-after-softmax", "mask", "the mask multiplies the weights, which then sum to less than 1",
        FILE, *alike("mask, axis=1)[..., None]", "None, axis=1)[..., None] * mask[..., None]"), "Attn",
    ),
    *both_sides(
        "soft-attention-mask-shifted", "mask", "the mask is one step late", FILE,
        ("mask, axis=1)", "mask.roll(1, dims=1), axis=1)"), ("mask, axis=1)", "jnp.roll(mask, 1, axis=1), axis=1)"),
        "EncoderDecoder", "decoder.attention",
    ),
    *both_sides(
        "soft-attention-mask-added", "mask", "the padding's score is lowered by 1, not excluded", FILE,
        ("energy.sum(dim=-1), mask,", "energy.sum(dim=-1) + mask.to(energy.dtype), None,"),
        ("energy.sum(axis=-1), mask,", "energy.sum(axis=-1) + mask.astype(energy.dtype), None,"),
        "Attn", divergence="D37",
    ),
    *both_sides(
        "soft-attention-empty-row-uniform", "mask", "a row with only padding gives equal weights, not zeros", FILE,
        *alike("mask, axis=1)", "mask | ~mask.any(1)[:, None], axis=1)"),
        "Attn", case="masked_row", divergence="D36",
    ),
)

OUTPUT = (
    *both_sides(
        "soft-attention-context-mean", "layer", "the context is the mean over the steps, not the sum", FILE,
        ("outputs.sum(dim=1)", "outputs.mean(dim=1)"), ("outputs.sum(axis=1)", "outputs.mean(axis=1)"), "Attn:context",
    ),
    *both_sides(
        "soft-attention-weights-squared", "layer", "the inputs are weighted twice", FILE,
        *alike(OUTPUTS, "outputs = inputs * weights * self.dropout(weights)"), "Attn",
    ),
    *both_sides(
        "soft-attention-weights-detached", "layer", "no gradient flows through the weights that multiply", FILE,
        (OUTPUTS, "outputs = inputs * self.dropout(weights).detach()"),
        (OUTPUTS, f"{STOP}outputs = inputs * stop_gradient(self.dropout(weights))"), "Attn", "", "input gradient",
    ),
    *both_sides(
        "soft-attention-state-detached", "layer", "no gradient flows into the decoder's state", FILE,
        (LAST["torch"], "last = hidden_states[-1].detach()[:, None].expand_as(inputs)"),
        (LAST["jax"], f"{STOP}last = jnp.broadcast_to(stop_gradient(hidden_states)[-1][:, None], inputs.shape)"),
        "DecoderAttn", "attention", "input gradient",
    ),
)
# fmt: on

SOFT_ATTENTION = (*SCORES, *MASKS, *OUTPUT)
