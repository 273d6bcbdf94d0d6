"""Faults in causal self-attention: mask, scale, projections, dropout, stopped gradients."""

from crosscheck.faults.fault import Fault, alike, both_sides, both_sides_equal

FILE, PARTS = "models/gpt.py", "layers/attention.py"
VISIBLE = "<= positions[:, None, :, None]"
GIVEN = "attention.visible_keys(positions, keys.shape[2])"
SCALED = "attention.attn_scaled(scores, x.shape[-1], self.num_heads)"
SOFTMAX = "return attention.masked_softmax(scores, visible, axis=-1)"
ZEROED = {
    "torch": "return torch.where(visible, attention.attn_softmax(scores), 0.0)",
    "jax": "return jnp.where(visible, attention.attn_softmax(scores), 0.0)",
}
PROJECTED = 'self.project("k", x), self.project("v", x)'
SIMILAR = "SIMILARITIES[self.similarity](queries, keys)"
ATTENDED = "attention.compute_outputs(self.weights_dropout(weights), values)"
RETURNED = "return self.out_dropout(self.out_proj(y))"
LAYER, IN_BLOCK, IN_MODEL = (
    "CausalSelfAttention",
    ("GPTBlock", "causal_attention"),
    ("GPT", "blocks.0.causal_attention"),
)

# fmt: off
MASKS = (
    *both_sides(
        "gpt-sees-the-next-token", "mask", "a query sees the key behind its own", PARTS,
        *alike(VISIBLE, f"{VISIBLE} + 1"), *IN_MODEL,
    ),
    *both_sides(
        "gpt-hides-its-own-token", "mask", "a query sees only the keys before its own", PARTS,
        *alike(VISIBLE, VISIBLE.replace("<=", "<")), LAYER,
    ),
    *both_sides(
        "gpt-sees-the-future", "mask", "a query sees its own key and those behind", PARTS,
        *alike(VISIBLE, VISIBLE.replace("<=", ">=")), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-sees-everything", "mask", "no key is hidden", FILE, *alike(GIVEN, f"{GIVEN} >= 0"), *IN_MODEL,
    ),
    *both_sides(
        "gpt-sees-the-last-token-alone", "mask", "a query sees its own key alone", PARTS,
        *alike(VISIBLE, VISIBLE.replace("<=", "==")), LAYER,
    ),
    *both_sides(
        "gpt-sees-half", "mask", "every query sees the first half of the keys", FILE,
        *alike(GIVEN, "attention.visible_keys(positions * 0 + x.shape[1] // 2, keys.shape[2])"), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-zeroed-after-the-softmax", "mask", "hidden keys take part in the softmax", FILE,
        *alike(SOFTMAX, "return zeroed_attention(scores, visible)"), *IN_MODEL,
    ),
    *both_sides(
        "gpt-normalised-again", "mask", "the ablation divides by the sum of what it keeps", FILE,
        (ZEROED["torch"], SOFTMAX), (ZEROED["jax"], SOFTMAX), "CausalSelfAttention:zeroed",
    ),
    *both_sides(
        "gpt-zeroed-before-the-softmax", "mask", "the scores of hidden keys are 0", FILE,
        (SOFTMAX, "return attention.attn_softmax(torch.where(visible, scores, 0.0))"),
        (SOFTMAX, "return attention.attn_softmax(jnp.where(visible, scores, 0.0))"), LAYER,
    ),
)

SCORES = (
    *both_sides(
        "gpt-scale-by-d", "layer", "the scores are divided by d, not by its root", FILE,
        *alike(SCALED, "attention.attn_scaled(scores, (x.shape[-1] // self.num_heads) ** 2, 1)"), LAYER,
    ),
    *both_sides(
        "gpt-scale-of-all-heads", "layer", "the scores are divided by the root of the whole width", FILE,
        *alike(SCALED, "attention.attn_scaled(scores, x.shape[-1], 1)"), *IN_MODEL,
    ),
    *both_sides("gpt-scale-missing", "layer", "the scores are not divided", FILE, *alike(SCALED, "scores"), *IN_BLOCK),
    *both_sides(
        "gpt-scale-twice", "layer", "the scores are divided by sqrt(d) twice", FILE,
        *alike(SCALED, SCALED.replace("(scores,", f"({SCALED},")), LAYER,
    ),
    *both_sides(
        "gpt-softmax-over-queries", "layer", "each key's weights sum to 1, not each query's", FILE,
        *alike(SOFTMAX, SOFTMAX.replace("-1", "-2")), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-softmax-over-heads", "layer", "the softmax runs over the heads", FILE,
        *alike(SOFTMAX, SOFTMAX.replace("-1", "1")), *IN_MODEL,
    ),
    *both_sides(
        "gpt-keys-and-values-swapped", "layer", "values are scored and keys are averaged", FILE,
        *alike("keys, values = past", "values, keys = past"), LAYER,
    ),
    *both_sides(
        "gpt-queries-and-keys-swapped", "layer", "queries and keys trade places", FILE,
        *alike(SIMILAR, "attention.pairwise_similarities(keys, queries)"), *IN_MODEL,
    ),
)

PROJECTIONS = (
    *both_sides(
        "gpt-values-of-the-keys", "layer", "the projection of the keys makes the values too", FILE,
        *alike(PROJECTED, PROJECTED.replace("v", "k")), LAYER,
    ),
    *both_sides(
        "gpt-values-without-bias", "layer", "the values have no bias", FILE,
        *alike(PROJECTED, f'{PROJECTED} - self.project("v", 0 * x)'), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-queries-of-the-keys", "layer", "the projection of the keys makes the queries too", FILE,
        *alike('self.project("q", x)', 'self.project("k", x)'), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-heads-not-projected", "layer", "the heads are merged but not projected", FILE,
        *alike(RETURNED, "return self.out_dropout(y)"), *IN_BLOCK,
    ),
    *both_sides(
        "gpt-projected-twice", "layer", "the output projection is applied twice", FILE,
        *alike(RETURNED, "return self.out_dropout(self.out_proj(self.out_proj(y)))"), *IN_MODEL,
    ),
)

DROPOUTS = (
    *both_sides(
        "gpt-weights-without-dropout", "dropout", "the attention weights have no dropout", FILE,
        *alike(ATTENDED, "attention.compute_outputs(weights, values)"), LAYER, mode="train",
    ),
    *both_sides(
        "gpt-dropout-of-the-heads", "dropout", "dropout acts on the attended values, not on the weights", FILE,
        *alike(ATTENDED, "self.weights_dropout(attention.compute_outputs(weights, values))"), *IN_BLOCK, mode="train",
    ),
    *both_sides(
        "gpt-one-dropout-for-both", "dropout", "the dropout of the weights acts on the outputs too", FILE,
        *alike(RETURNED, "return self.weights_dropout(self.out_proj(y))"), *IN_MODEL, mode="train",
    ),
    *both_sides(
        "gpt-dropout-before-projecting", "dropout", "dropout comes before the output projection", FILE,
        *alike(RETURNED, "return self.out_proj(self.out_dropout(y))"), LAYER, mode="train",
    ),
)

STOPPED = (
    *both_sides(
        "gpt-keys-without-gradient", "layer", "no gradient flows into the keys", FILE,
        (SIMILAR, "attention.pairwise_similarities(queries, keys.detach())"),
        (SIMILAR, "attention.pairwise_similarities(queries, jax.lax.stop_gradient(keys))"), LAYER, "", "input gradient",
    ),
    *both_sides(
        "gpt-values-without-gradient", "layer", "no gradient flows into the values", FILE,
        (ATTENDED, ATTENDED.replace("values)", "values.detach())")),
        (ATTENDED, ATTENDED.replace("values)", "jax.lax.stop_gradient(values))")), *IN_BLOCK, "input gradient",
    ),
    *both_sides(
        "gpt-weights-without-gradient", "layer", "the attention weights are treated as constants", FILE,
        (ATTENDED, ATTENDED.replace("(weights)", "(weights.detach())")),
        (ATTENDED, ATTENDED.replace("(weights)", "(jax.lax.stop_gradient(weights))")), LAYER, "", "input gradient",
    ),
)

EQUIVALENTS_CAUSAL = (
    *both_sides_equal(
        "gpt-queries-scaled-first", "the queries are divided by sqrt(d), not the scores", FILE,
        *alike(f"{SIMILAR}\n        scores = {SCALED}",
               f"attention.pairwise_similarities({SCALED.replace('scores', 'queries')}, keys)"), LAYER,
    ),
    *both_sides_equal(
        "gpt-hidden-scores-infinite", "hidden scores are -inf before a plain softmax", FILE,
        (SOFTMAX, "return attention.attn_softmax(torch.where(visible, scores, -torch.inf))"),
        (SOFTMAX, "return attention.attn_softmax(jnp.where(visible, scores, -jnp.inf))"), "GPTBlock", dtype="float32",
    ),
)
# fmt: on

CAUSAL_ATTENTION: tuple[Fault, ...] = (*MASKS, *SCORES, *PROJECTIONS, *DROPOUTS, *STOPPED)
