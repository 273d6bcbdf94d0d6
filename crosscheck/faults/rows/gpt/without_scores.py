"""Faults in attention without scores (AFT, FAVOR+) and in projections that are not linear."""

from crosscheck.faults.fault import TextChange, alike
from crosscheck.faults.rows.gpt.variants import OF_ATTENTION, each, rows

FILE, MODEL = "layers/ablations/linear_attention.py", "models/gpt.py"
PROJECTIONS_FILE = "layers/ablations/projections.py"
GATE = {
    "torch": "(torch.sigmoid(at_least_float32(queries)) * means)",
    "jax": "(jax.nn.sigmoid(at_least_float32(queries)) * means)",
}
VISIBLE = {
    "torch": "torch.where(visible_keys(positions, n_keys), ",
    "jax": "jnp.where(visible_keys(positions, n_keys), ",
}
BIASES = "(self.pair_embedding(positions))[:, None, :, :n_keys]"
SHIFTED_BIASES, POWERS = "(biases - biases[..., :1])", "(wide - wide[:, :, :1])"
LEARNED = "factors, x) for x in (powers * values, powers))\n        return gated(queries, sums / totals)"
SUMMED = "sums_until(x, positions) for x in (powers * values, powers))\n        return gated(queries, sums / totals)"
UNTIL = "positions[:, None, :, None]"
RUNNING = {"torch": "torch.cumsum(x, dim=2)", "jax": "jnp.cumsum(x, axis=2)"}
SCALED = "at_least_float32(x) / x.shape[-1] ** 0.25"
SQUARES = {"torch": " - (scaled**2).sum(-1, keepdim=True) / 2", "jax": " - (scaled**2).sum(-1, keepdims=True) / 2"}
FEATURES = {"torch": "return torch.exp(along", "jax": "return jnp.exp(along"}
DIRECTIONS = "orthogonal_directions(FEATURES * keys.shape[-1], keys.shape[-1])"
DIVIDED = " / totals[..., None])"
BENT, TWO_MAPS = "return gelu(self.in_proj(x))", "return self.last_proj(gelu(self.in_proj(x)))"
GELU = {"torch": 'approximate="tanh"', "jax": "approximate=True"}
EXACT = {"torch": 'approximate="none"', "jax": "approximate=False"}
CALLED = "self.summed(self.queries(x, positions), keys, values, positions)"


def by_side(old: dict[str, str], new: dict[str, str]) -> tuple[TextChange, TextChange]:
    return (old["torch"], new["torch"]), (old["jax"], new["jax"])


def stop(old: str, part: str) -> tuple[TextChange, TextChange]:
    """No gradient flows through a part of what both sides say."""
    return (old, old.replace(part, f"{part}.detach()")), (old, old.replace(part, f"jax.lax.stop_gradient({part})"))


# fmt: off
ATTENTION_FREE = (
    *rows("AttentionFree", "layer", (
        ("aft-without-gate", "the queries do not count", FILE,
         *by_side(GATE, dict.fromkeys(GATE, "(at_least_float32(queries) * 0 + means)"))),
        ("aft-gate-by-tanh", "the gate is a tanh", FILE,
         *by_side(GATE, {"torch": GATE["torch"].replace("sigmoid", "tanh"),
                         "jax": GATE["jax"].replace("jax.nn.sigmoid", "jnp.tanh")})),
        ("aft-sees-everything", "no key is hidden", FILE, *each(VISIBLE, "n_keys), ", "n_keys) | True, ")),
        ("aft-biases-transposed", "w of key and query, not of query and key", FILE,
         *alike(BIASES, f"{BIASES}.swapaxes(-1, -2)")),
        ("aft-biases-missing", "w does not count", FILE, *alike(SHIFTED_BIASES, f"({SHIFTED_BIASES} * 0)")),
        ("aft-biases-negative", "w is subtracted", FILE, *alike(SHIFTED_BIASES, f"(-{SHIFTED_BIASES})")),
        ("aft-biases-by-column", "the first query's w is subtracted, not that of the first key", FILE,
         *alike(SHIFTED_BIASES, "(biases - biases[..., :1, :])")),
        ("aft-not-normalised", "the weighted values are added, not averaged", FILE,
         *alike(LEARNED, LEARNED.replace(" / totals", ""))),
        ("aft-keys-missing", "the keys do not count", FILE, *alike(POWERS, f"({POWERS} * 0)")),
        ("aft-keys-shifted-by-a-dimension", "the first dimension is subtracted, not the first key", FILE,
         *alike(POWERS, "(wide - wide[..., :1])")),
    )),
    *rows("AttentionFree", "layer", (
        ("aft-keys-without-gradient", "no gradient flows into the keys", FILE,
         *stop("wide = at_least_float32(keys)", "at_least_float32(keys)")),
        ("aft-gate-without-gradient", "no gradient flows into the queries", FILE,
         *(each(GATE, "at_least_float32(queries)", new)[place] for place, new in enumerate(
             ("at_least_float32(queries).detach()", "jax.lax.stop_gradient(at_least_float32(queries))")))),
    ), "input gradient"),
    *rows("SimpleAttentionFree", "layer", (
        ("sums-until-the-token-before", "a query sees only the keys before its own", FILE,
         *alike(UNTIL, f"({UNTIL} - 1).clip(0)")),
        ("sums-until-the-next-token", "a query sees the key behind its own", FILE,
         *alike(UNTIL, f"({UNTIL} + 1).clip(0, x.shape[2] - 1)")),
        ("sums-over-heads", "the sums run over the heads", FILE,
         *(each(RUNNING, "=2", "=1"))),
        ("sums-of-everything", "every query sees all keys", FILE,
         *by_side(RUNNING, dict.fromkeys(RUNNING, "(x * 0 + x.sum(2)[:, :, None])"))),
        ("simple-aft-not-normalised", "the weighted values are added, not averaged", FILE,
         *alike(SUMMED, SUMMED.replace(" / totals", ""))),
        ("simple-aft-of-plain-values", "the values have equal weights", FILE,
         *alike(SUMMED, SUMMED.replace("powers * values, powers", "powers * 0 + values, powers * 0 + 1"))),
    )),
)

RANDOM_FEATURES = (
    *rows("RandomFeatureAttention", "layer", (
        ("favor-scale-missing", "queries and keys are not divided by d^(1/4)", FILE,
         *alike(SCALED, "at_least_float32(x)")),
        ("favor-scale-by-the-root", "queries and keys are divided by sqrt(d)", FILE,
         *alike(SCALED, SCALED.replace("0.25", "0.5"))),
        ("favor-without-lengths", "the features lack exp(-x^2 / 2)", FILE,
         *by_side(SQUARES, dict.fromkeys(SQUARES, ""))),
        ("favor-lengths-not-halved", "the features have exp(-x^2)", FILE, *each(SQUARES, " / 2", "")),
        ("favor-by-relu", "the features are those of a ReLU kernel", FILE,
         *by_side(FEATURES, {"torch": "return torch.relu(along", "jax": "return jax.nn.relu(along"})),
        ("favor-by-cosines", "the features are cosines, which may be negative", FILE,
         *by_side(FEATURES, {"torch": "return torch.cos(along", "jax": "return jnp.cos(along"})),
        ("favor-not-normalised", "the weighted values are added, not averaged", FILE, *alike(DIVIDED, ")")),
        ("favor-floor-too-high", "1/100 is added to each feature", FILE, *alike("FLOOR = 1e-6", "FLOOR = 1e-2")),
        ("favor-with-fewer-features", "half as many features", FILE, *alike("FEATURES = 4", "FEATURES = 2")),
        ("favor-in-other-directions", "the features are drawn with a different seed", FILE,
         *alike(DIRECTIONS, DIRECTIONS.replace("1])", "1], 1)"))),
        ("favor-keys-as-queries", "the features of the keys stand for those of the queries", FILE,
         *alike("positive_features(queries, directions), ", "positive_features(keys, directions), ")),
    )),
    *rows("RandomFeatureAttention", "layer", (
        ("favor-values-without-gradient", "no gradient flows into the values", FILE,
         *stop("at_least_float32(values))", "at_least_float32(values)")),
    ), "input gradient"),
)

CURVED_PROJECTIONS = (
    *rows("NonlinearProjection", "layer", (
        ("nonlinear-projection-straight", "the projection has no GELU", PROJECTIONS_FILE,
         *alike(BENT, "return self.in_proj(x)")),
        ("nonlinear-projection-bent-twice", "the GELU is applied twice", PROJECTIONS_FILE,
         *alike(BENT, "return gelu(gelu(self.in_proj(x)))")),
        ("nonlinear-projection-by-erf", "GELU is exact, not by tanh", PROJECTIONS_FILE, *by_side(GELU, EXACT)),
    )),
    *rows("MLPProjection", "layer", (
        ("mlp-projection-straight", "no GELU stands between the maps", PROJECTIONS_FILE,
         *alike(TWO_MAPS, "return self.last_proj(self.in_proj(x))")),
        ("mlp-projection-bent-last", "the GELU comes last", PROJECTIONS_FILE,
         *alike(TWO_MAPS, "return gelu(self.last_proj(self.in_proj(x)))")),
        ("mlp-projection-cut-short", "the second map is left out", PROJECTIONS_FILE,
         *alike(TWO_MAPS, "return gelu(self.in_proj(x)) + 0 * self.last_proj(gelu(self.in_proj(x)))")),
        ("mlp-projection-twice", "the second map is applied twice", PROJECTIONS_FILE,
         *alike(TWO_MAPS, "return self.last_proj(self.last_proj(gelu(self.in_proj(x))))")),
    )),
)

CALLS = (
    *rows(OF_ATTENTION + "attention_free", "layer", (
        ("aft-keys-and-values-swapped", "keys are averaged, weighted by the values", MODEL,
         *alike(CALLED, CALLED.replace("keys, values", "values, keys"))),
    )),
    *rows(OF_ATTENTION + "attention_free_simple", "layer", (
        ("simple-aft-of-shifted-queries", "the gate reads the query before", MODEL,
         (CALLED, CALLED.replace("x, positions)", "x.roll(1, 1), positions)")),
         (CALLED, CALLED.replace("x, positions)", "jnp.roll(x, 1, 1), positions)"))),
    )),
    *rows(OF_ATTENTION + "random_features", "layer", (
        ("favor-keys-and-values-swapped", "keys are averaged, weighted by the values", MODEL,
         *alike(CALLED, CALLED.replace("keys, values", "values, keys"))),
    )),
)
# fmt: on

WITHOUT_SCORES = (*ATTENTION_FREE, *RANDOM_FEATURES, *CURVED_PROJECTIONS, *CALLS)
