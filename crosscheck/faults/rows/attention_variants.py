"""Faults in attention by relative positions, of low rank, and projected."""

from crosscheck.faults.fault import alike, both_sides

RELATIVE, TWIN = "layers/relative_attention.py", "RelativeAttention"
STOP = "from jax.lax import stop_gradient\n\n        "
WEIGHTS = "weights = masked_softmax(scores + p, p > -math.inf, axis=-1)"

FILE = "layers/efficient_attention.py"
LOW, PROJECTED, LINEAR = "low_rank_attention", "projected_attention", "projected_attention:not_normalised"
MIXED = "mixed = values[..., :rank, None] * "
FACTORS = {
    "torch": "left, values, right = torch.linalg.svd(at_least_float32(A), full_matrices=False)",
    "jax": "left, values, right = jnp.linalg.svd(at_least_float32(A), full_matrices=False)",
}
HALT = "from jax.lax import stop_gradient\n\n    "

# Short rows are easier to scan.
# fmt: off
RELATIVE_ATTENTION = (
    *both_sides(
        "relative-positions-mirrored", "position", "the scores are p_(j-i): on the wrong side", RELATIVE,
        *alike("i[:, None] - i + self", "i - i[:, None] + self"), TWIN,
    ),
    *both_sides(
        "relative-positions-shifted", "position", "the table is read one place early", RELATIVE,
        *alike("self.sequence_length - 1]", "self.sequence_length - 2]"), TWIN,
    ),
    *both_sides(
        "relative-positions-absolute", "position", "the distance has no sign: p_|i-j|", RELATIVE,
        ("i[:, None] - i + self", "(i[:, None] - i).abs() + self"),
        ("i[:, None] - i + self", "jnp.abs(i[:, None] - i) + self"), TWIN,
    ),
    *both_sides(
        "relative-positions-from-the-start", "position", "distances index the table without an offset", RELATIVE,
        *alike("- i + self.sequence_length - 1]", "- i]"), TWIN,
    ),
    *both_sides(
        "relative-positions-clipped", "position", "distances beyond 4 share a score", RELATIVE,
        ("i[:, None] - i + self", "(i[:, None] - i).clamp(-4, 4) + self"),
        ("i[:, None] - i + self", "jnp.clip(i[:, None] - i, -4, 4) + self"), TWIN,
    ),
    *both_sides(
        "relative-positions-missing", "position", "the scores know no positions", RELATIVE,
        *alike("masked_softmax(scores + p, p", "masked_softmax(scores, p"), TWIN,
    ),
    *both_sides(
        "relative-positions-scaled", "position", "p is divided by sqrt(d) with the scores", RELATIVE,
        *alike("masked_softmax(scores + p, p", "masked_softmax(scores + p / self.head_size**0.5, p"), TWIN,
    ),
    *both_sides(
        "relative-positions-multiplied", "position", "p multiplies the scores", RELATIVE,
        *alike("masked_softmax(scores + p, p", "masked_softmax(scores * p, p"), TWIN,
    ),
    *both_sides(
        "relative-scores-unscaled", "layer", "the dot products are not divided by sqrt(d)", RELATIVE,
        *alike("self.head_size, 1)\n        weights", "1, 1)\n        weights"), TWIN,
    ),
    *both_sides(
        "relative-keys-and-queries-swapped", "layer", "queries are compared as keys", RELATIVE,
        *alike("pairwise_similarities(self.q_proj(x), self.k_proj(x))",
               "pairwise_similarities(self.k_proj(x), self.q_proj(x))"), TWIN,
    ),
    *both_sides(
        "relative-softmax-over-queries", "layer", "the softmax runs over the queries", RELATIVE,
        *alike("p > -math.inf, axis=-1)", "p > -math.inf, axis=-2)"), TWIN,
    ),
    *both_sides(
        "relative-positive-positions-only", "mask", "positions whose score is below 0 are masked", RELATIVE,
        *alike("p > -math.inf", "p > 0"), TWIN,
    ),
    *both_sides(
        "relative-positions-frozen", "position", "the positions get no gradient", RELATIVE,
        ("scores + p, p", "scores + p.detach(), p"),
        (WEIGHTS, STOP + WEIGHTS.replace("scores + p,", "scores + stop_gradient(p),")),
        TWIN, "", "input gradient",
    ),
)

LOW_RANK = (
    *both_sides(
        "low-rank-one-more", "layer", "one singular value too many is kept", FILE,
        *(("check_rank(rank, min(A.shape[-2:]))", "rank = rank + 1"),) * 2, LOW,
    ),
    *both_sides(
        "low-rank-one-less", "layer", "one singular value too few is kept", FILE,
        *(("check_rank(rank, min(A.shape[-2:]))", "rank = rank - 1"),) * 2, LOW,
    ),
    *both_sides(
        "low-rank-without-singular-values", "layer", "the singular values are left out", FILE,
        *alike(MIXED, "mixed = "), LOW,
    ),
    *both_sides(
        "low-rank-singular-values-squared", "layer", "the singular values are squared", FILE,
        *alike(MIXED, "mixed = values[..., :rank, None] ** 2 * "), LOW,
    ),
    *both_sides(
        "low-rank-singular-values-halved", "layer", "only the roots of the singular values are used", FILE,
        *alike(MIXED, "mixed = values[..., :rank, None] ** 0.5 * "), LOW,
    ),
    *both_sides(
        "low-rank-smallest", "layer", "the smallest singular values are kept", FILE,
        (FACTORS["torch"], f"{FACTORS['torch']}\n"
         "    left, values, right = left.flip(-1), values.flip(-1), right.flip(-2)"),
        (FACTORS["jax"], f"{FACTORS['jax']}\n"
         "    left, values, right = left[..., ::-1], values[..., ::-1], right[..., ::-1, :]"),
        LOW,
    ),
    *both_sides(
        "low-rank-left-last", "layer", "left vectors of other singular values are used", FILE,
        *alike("left[..., :rank], mixed", "left[..., -rank:], mixed"), LOW,
    ),
    *both_sides(
        "low-rank-weights-detached", "layer", "no gradient flows to the matrix", FILE,
        (FACTORS["torch"], FACTORS["torch"].replace("(A)", "(A.detach())")),
        (FACTORS["jax"], HALT + FACTORS["jax"].replace("(A)", "(stop_gradient(A))")), LOW, "", "input gradient",
    ),
    *both_sides(
        "low-rank-values-detached", "layer", "no gradient flows through the singular values", FILE,
        (MIXED, "mixed = values[..., :rank, None].detach() * "),
        (MIXED, f"{HALT}mixed = stop_gradient(values)[..., :rank, None] * "), LOW, "", "input gradient",
    ),
    *both_sides(
        "low-rank-in-float32", "precision", "the factors are computed in float32 in a float64 run", FILE,
        (FACTORS["torch"], f"{FACTORS['torch'].replace('at_least_float32(A)', 'A.float()')}\n"
         "    left, values, right = (x.type_as(V) for x in (left, values, right))"),
        (FACTORS["jax"], f"{FACTORS['jax'].replace('at_least_float32(A)', 'A.astype(jnp.float32)')}\n"
         "    left, values, right = (x.astype(V.dtype) for x in (left, values, right))"), LOW,
    ),
)

PROJECTION = (
    *both_sides(
        "projected-keys-by-values-map", "layer", "the keys are projected by D", FILE,
        *alike('"ks,...sd->...kd", C, K', '"ks,...sd->...kd", D, K'), PROJECTED,
    ),
    *both_sides(
        "projected-values-by-keys-map", "layer", "the values are projected by C", FILE,
        *alike('"ks,...se->...ke", D, V', '"ks,...se->...ke", C, V'), LINEAR,
    ),
    *both_sides(
        "projected-scale-missing", "layer", "the scores are not divided by sqrt(d)", FILE,
        *alike("attn_scaled(scores, Q.shape[-1], 1)", "scores"), PROJECTED,
    ),
    *both_sides(
        "projected-scale-of-rank", "layer", "the scores are divided by the root of the number of projected keys", FILE,
        *alike("attn_scaled(scores, Q.shape[-1], 1)", "attn_scaled(scores, C.shape[0], 1)"), PROJECTED,
    ),
    *both_sides(
        "projected-scaled-without-softmax", "layer", "scores without a softmax are divided by sqrt(d)", FILE,
        *alike("if normalised else scores", "if normalised else attn_scaled(scores, Q.shape[-1], 1)"), LINEAR,
    ),
    *both_sides(
        "projected-always-softmax", "layer", "the softmax can't be switched off", FILE,
        *alike("if normalised else scores", "if True else scores"), LINEAR,
    ),
    *both_sides(
        "projected-never-softmax", "layer", "the softmax is never applied", FILE,
        *alike("if normalised else scores", "if False else scores"), PROJECTED,
    ),
    *both_sides(
        "projected-keys-averaged", "layer", "projected keys are means, not sums, over the steps", FILE,
        *alike('"ks,...sd->...kd", C, K', '"ks,...sd->...kd", C / C.shape[-1], K'), PROJECTED,
    ),
    *both_sides(
        "projected-keys-detached", "layer", "no gradient flows to the map of the keys", FILE,
        ('"ks,...sd->...kd", C, K', '"ks,...sd->...kd", C.detach(), K'),
        ("    keys, values = jnp.einsum(\"ks,...sd->...kd\", C, K)",
         f"    {HALT}keys, values = jnp.einsum(\"ks,...sd->...kd\", stop_gradient(C), K)"),
        PROJECTED, "", "input gradient",
    ),
)
# fmt: on

EFFICIENT_ATTENTION = (*LOW_RANK, *PROJECTION)
