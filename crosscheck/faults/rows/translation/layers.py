"""Faults in the cell that resets before the product, in attention over other positions, and in sinusoidal positions."""

from crosscheck.faults.fault import Fault, alike, both_sides, both_sides_equal

CELL, CROSS, POSITIONS = "layers/reset_before_gru.py", "layers/cross_attention.py", "layers/positions.py"
RESET = {
    "torch": 'torch.einsum("bh,gh->bg", r * h, self.hidden_candidate)',
    "jax": 'jnp.einsum("bh,gh->bg", r * h, self.hidden_candidate[...])',
}
KEPT = "h = {}.where(is_valid, self.step(projected, h), h)"
ZEROED = {"torch": "outputs.append(torch.where(is_valid, h, 0.0))", "jax": "return h, jnp.where(is_valid, h, 0.0)"}
OF_COLUMN, OF_ROW = "None if mask is None else mask[..., None]", "None if mask is None else mask[:, None]"
SIMILAR = "attention.pairwise_similarities(self.q_proj(queries), self.k_proj(keys))"
SCALED = "attention.attn_scaled(scores, keys.shape[-1], 1)\n        weights = attention.masked_softmax(scores, "
SUMMED = "axis=-1)\n        return attention.compute_outputs(weights, self.v_proj(values))"
ONE_QUERY = "queries if queries.ndim == 3 else queries[:, None]\n        scores = "
COUNTED = {
    "torch": "torch.arange(steps, dtype=wide, device=x.device)[:, None]",
    "jax": "jnp.arange(steps, dtype=wide)[:, None]",
}
WAVES = "[{0}.sin(angles), {0}.cos(angles)]"


# fmt: off
CELLS = (
    *both_sides(
        "reset-after-the-product", "layer", "the reset follows the product, as in torch.nn.GRU", CELL,
        (RESET["torch"], 'r * torch.einsum("bh,gh->bg", h, self.hidden_candidate)'),
        (RESET["jax"], 'r * jnp.einsum("bh,gh->bg", h, self.hidden_candidate[...])'), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "reset-missing", "layer", "the candidate reads the whole state", CELL,
        *alike("r * h, self", "h, self"), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "reset-update-turned", "layer", "the update gate keeps the candidate, as in torch.nn.GRU", CELL,
        *alike("return (1 - z) * h + z * n", "return (1 - z) * n + z * h"), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "reset-gates-swapped", "layer", "inputs of the two gates trade places", CELL,
        *alike("x_r, x_z, x_n = ", "x_z, x_r, x_n = "), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "reset-update-of-the-reset", "layer", "the update gate reads the reset gate's input", CELL,
        *alike("x_z + h_z", "x_r + h_z"), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "reset-candidate-sigmoid", "layer", "the candidate is a sigmoid", CELL,
        ("n = torch.tanh(", "n = torch.sigmoid("), ("n = jnp.tanh(", "n = jax.nn.sigmoid("), "ResetBeforeGRUCell",
    ),
    *both_sides(
        "source-padding-read", "layer", "padding changes the encoder's state", CELL,
        (KEPT.format("torch"), "h = self.step(projected, h)"), (KEPT.format("jnp"), "h = self.step(projected, h)"),
        "GRUEncoder", "cell",
    ),
    *both_sides(
        "source-padding-annotated", "layer", "padding has annotations", CELL,
        (ZEROED["torch"], "outputs.append(h)"), (ZEROED["jax"], "return h, h"), "GRUEncoder", "cell",
    ),
)

ADDITIVE = (
    *both_sides(
        "additive-tanh", "layer", "the energy is a hyperbolic tangent, as in Bahdanau", CROSS,
        ("F.relu(self.W(", "torch.tanh(self.W("), ("jax.nn.relu(self.W(", "jnp.tanh(self.W("), "AdditiveAttention",
    ),
    *both_sides(
        "additive-softmax-over-the-batch", "layer", "the softmax runs over the batch", CROSS,
        *alike(f"{OF_COLUMN}, axis=1", f"{OF_COLUMN}, axis=0"), "AdditiveAttention",
    ),
    *both_sides(
        "additive-mask-missing", "mask", "padding is attended to", CROSS,
        *alike(OF_COLUMN, "None"), "AdditiveAttention",
    ),
    *both_sides(
        "additive-keys-averaged", "layer", "the keys are averaged, not the values", CROSS,
        *alike("weights, values)", "weights, keys)"), "AdditiveAttention",
    ),
    *both_sides(
        "additive-query-behind-the-key", "layer", "the key comes before the query", CROSS,
        *alike("[spread, keys]", "[keys, spread]"), "AdditiveAttention",
    ),
)

SCALED_DOT = (
    *both_sides(
        "cross-mask-missing", "mask", "padding is attended to", CROSS, *alike(OF_ROW, "None"), "ScaledDotAttention",
    ),
    *both_sides(
        "cross-mask-turned", "mask", "padding alone is attended to", CROSS,
        *alike(f"{OF_ROW}, axis", f"{OF_ROW} == 0, axis"), "ScaledDotAttention",
    ),
    *both_sides(
        "cross-softmax-over-queries", "layer", "each key's weights sum to 1, not each query's", CROSS,
        *alike(f"{OF_ROW}, axis=-1", f"{OF_ROW}, axis=-2"), "ScaledDotAttention",
    ),
    *both_sides(
        "cross-scale-missing", "layer", "the scores are not divided", CROSS,
        *alike(f"{SCALED}None", SCALED.replace("keys.shape[-1]", "1") + "None"), "ScaledDotAttention",
    ),
    *both_sides(
        "cross-scale-by-the-width", "layer", "the scores are divided by the width, not by its root", CROSS,
        *alike(f"{SCALED}None", SCALED.replace("keys.shape[-1]", "keys.shape[-1] ** 2") + "None"),
        "ScaledDotAttention:one_query",
    ),
    *both_sides(
        "cross-keys-of-the-queries", "layer", "the projection of the queries makes the keys too", CROSS,
        *alike(ONE_QUERY + SIMILAR, ONE_QUERY + SIMILAR.replace("k_proj", "q_proj")), "ScaledDotAttention",
    ),
    *both_sides(
        "cross-values-not-projected", "layer", "the values are not projected", CROSS,
        *alike(f"mask[:, None], {SUMMED}", f"mask[:, None], {SUMMED}".replace("self.v_proj(values)", "values")),
        "ScaledDotAttention",
    ),
)

CAUSAL = (
    *both_sides(
        "past-sees-the-next-letter", "mask", "every query sees the key after its own", CROSS,
        *alike("places <=", "places - 1 <="), "CausalScaledDotAttention",
    ),
    *both_sides(
        "past-does-not-see-itself", "mask", "no query sees its own key", CROSS,
        *alike("places <=", "places <"), "CausalScaledDotAttention",
    ),
    *both_sides(
        "past-sees-the-future", "mask", "every query sees its own key and those after", CROSS,
        *alike("places <=", "places >="), "CausalScaledDotAttention",
    ),
    *both_sides(
        "past-not-causal", "mask", "every query sees every key", CROSS,
        *alike("visible, axis", "None, axis"), "CausalScaledDotAttention",
    ),
    *both_sides(
        "past-scale-missing", "layer", "the scores are not divided", CROSS,
        *alike(f"{SCALED}visible", SCALED.replace("keys.shape[-1]", "1") + "visible"), "CausalScaledDotAttention",
    ),
    *both_sides(
        "past-values-not-projected", "layer", "the values are not projected", CROSS,
        *alike(f"visible, {SUMMED}", f"visible, {SUMMED}".replace("self.v_proj(values)", "values")),
        "CausalScaledDotAttention",
    ),
)

SINUSOIDS = (
    *both_sides(
        "sinusoids-from-one", "position", "the first position is 1", POSITIONS,
        (COUNTED["torch"], f"(1 + {COUNTED['torch']})"), (COUNTED["jax"], f"(1 + {COUNTED['jax']})"),
        "SinusoidalPositions",
    ),
    *both_sides(
        "sinusoids-swapped", "position", "the cosine comes first", POSITIONS,
        (WAVES.format("torch"), "[torch.cos(angles), torch.sin(angles)]"),
        (WAVES.format("jnp"), "[jnp.cos(angles), jnp.sin(angles)]"), "SinusoidalPositions",
    ),
    *both_sides(
        "sinusoids-in-halves", "position", "all sines come before all cosines", POSITIONS,
        *alike(".reshape(steps, -1)", ".swapaxes(1, 2).reshape(steps, -1)"), "SinusoidalPositions",
    ),
    *both_sides(
        "sinusoids-shorter", "position", "the longest wave has 1,000 positions", POSITIONS,
        *alike("math.log(10000.0)", "math.log(1000.0)"), "SinusoidalPositions",
    ),
)

EQUIVALENTS_LAYERS = (
    *both_sides_equal(
        "reset-kept-in-other-words", "h + z (n - h) is written in place of (1 - z) h + z n", CELL,
        *alike("return (1 - z) * h + z * n", "return h + z * (n - h)"), "ResetBeforeGRUCell",
    ),
    *both_sides_equal(
        "sinusoids-added-first", "the waves come first in the sum", POSITIONS,
        ("x + waves[:, :width].to(x.dtype)", "waves[:, :width].to(x.dtype) + x"),
        ("x + waves[:, :width].astype(x.dtype)", "waves[:, :width].astype(x.dtype) + x"), "SinusoidalPositions",
    ),
)
# fmt: on

LAYERS: tuple[Fault, ...] = (*CELLS, *ADDITIVE, *SCALED_DOT, *CAUSAL, *SINUSOIDS)
