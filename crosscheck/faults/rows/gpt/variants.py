"""Faults in the ablations of GPT's attention: similarities, shared projections, positions, zeros after the softmax."""

from collections.abc import Iterable

from crosscheck.faults.fault import Fault, TextChange, alike, both_sides

FILE, VARIANTS = "models/gpt.py", "layers/ablations/attention_variants.py"
OF_ATTENTION = "CausalSelfAttention:"
UNITS = "q, k = unit_vectors(at_least_float32(Q)), unit_vectors(at_least_float32(K))"
LENGTH = {
    "torch": "torch.sqrt((x**2).sum(-1, keepdim=True) + EPSILON)",
    "jax": "jnp.sqrt((x**2).sum(-1, keepdims=True) + EPSILON)",
}
SQUARES = "-(differences**2).sum(-1)"
SUMS = "[..., :, None, :] + at_least"
TANH = {"torch": "torch.tanh(sums).sum(-1)", "jax": "jnp.tanh(sums).sum(-1)"}
KEYS, VALUES = 'self.project("k", x)', 'self.project("v", x)'
QUERIES = 'self.turn(self.project("q", x), positions)'
PROJECTED = "getattr(self, SHARED[self.shared][name])(x)"
TURNED_KEYS = "return self.turn(keys, positions), values"
PAIRS = "even, odd = wide[..., 0::2], wide[..., 1::2]"
PLACES = "np.arange(x.shape[-1]) // 2 * 2"
COUNTED = {"torch": "positions[..., None].to(x.dtype)", "jax": "positions[..., None].astype(x.dtype)"}
WAVES = {
    "torch": "torch.where(is_even, torch.sin(angles), torch.cos(angles))",
    "jax": "jnp.where(is_even, jnp.sin(angles), jnp.cos(angles))",
}
ADDED = "self.dropout(add(self.token_embedding(inputs), positions))"
ZEROED = {
    "torch": "torch.where(visible, attention.attn_softmax(scores), 0.0)",
    "jax": "jnp.where(visible, attention.attn_softmax(scores), 0.0)",
}

Row = tuple[str, str, str, TextChange, TextChange]  # name, what, file, the change in torch and in JAX


def each(text: dict[str, str], old: str, new: str) -> tuple[TextChange, TextChange]:
    """`old`, wherever it is in what each side says, becomes `new`."""
    return tuple((text[side], text[side].replace(old, new)) for side in ("torch", "jax"))  # type: ignore[return-value]


def stopped(old: str, part: str) -> tuple[TextChange, TextChange]:
    """No gradient flows through a part of what both sides say."""
    return (old, old.replace(part, f"{part}.detach()")), (old, old.replace(part, f"jax.lax.stop_gradient({part})"))


def rows(twin: str, kind: str, found: Iterable[Row], phase: str = "forward") -> tuple[Fault, ...]:
    """Each row as a fault on both sides, seen in the outputs of the twin, or where no gradient flows, in its inputs."""
    return tuple(fault for row in found for fault in both_sides(row[0], kind, *row[1:], twin, "", phase))


# fmt: off
SIMILARITIES = (
    *rows(OF_ATTENTION + "cosine", "layer", (
        ("cosine-of-long-keys", "the keys keep their lengths", VARIANTS,
         *alike(UNITS, UNITS.replace("unit_vectors(at_least_float32(K))", "at_least_float32(K)"))),
        ("cosine-of-long-vectors", "no vector is divided by its length", VARIANTS,
         *alike(UNITS, "q, k = at_least_float32(Q), at_least_float32(K)")),
        ("cosine-by-the-square", "vectors are divided by their squared lengths", VARIANTS,
         *(each(LENGTH, LENGTH[side], "((x**2).sum(-1)[..., None] + EPSILON)")[place]
           for place, side in enumerate(LENGTH))),
        ("cosine-over-tokens", "the length of a dimension over all tokens divides", VARIANTS,
         *each(LENGTH, "sum(-1", "sum(-2")),
        ("cosine-of-queries-alone", "the keys are compared with themselves", VARIANTS,
         *alike(UNITS, UNITS.replace("(Q)", "(K)"))),
    )),
    *rows(OF_ATTENTION + "distance", "layer", (
        ("distance-positive", "far keys are the most similar", VARIANTS, *alike(SQUARES, SQUARES[1:])),
        ("distance-not-squared", "the distances are not squared", VARIANTS,
         *alike(SQUARES, f"-(({SQUARES[1:]} + EPSILON) ** 0.5)")),
        ("distance-by-amounts", "amounts are added up, not squares", VARIANTS,
         *alike(SQUARES, "-abs(differences).sum(-1)")),
        ("distance-averaged", "the mean of the squares, not their sum", VARIANTS,
         *alike(SQUARES, SQUARES.replace("sum", "mean"))),
        ("distance-of-sums", "queries and keys are added", VARIANTS,
         *alike("[..., :, None, :] - at_least", SUMS)),
    )),
    *rows(OF_ATTENTION + "additive", "layer", (
        ("additive-of-differences", "keys are subtracted from queries", VARIANTS,
         *alike(SUMS, "[..., :, None, :] - at_least")),
        ("additive-without-tanh", "the sums have no tanh", VARIANTS,
         *((text, "sums.sum(-1)") for text in TANH.values())),
        ("additive-averaged", "the mean over the width, not the sum", VARIANTS, *each(TANH, ".sum(-1)", ".mean(-1)")),
        ("additive-squashed-last", "tanh follows the sum over the width", VARIANTS,
         *each(TANH, "tanh(sums).sum(-1)", "tanh(sums.sum(-1))")),
    )),
)

SHARED = tuple(
    fault
    for letters, others in (("kv", VALUES), ("qk", KEYS), ("qkv", VALUES))
    for fault in (
        *rows(f"{OF_ATTENTION}shared_{letters}", "layer", (
            (f"shared-{letters}-projected-twice", "the shared projection is used twice in a row", FILE,
             *alike(PROJECTED, PROJECTED.replace("(x)", f"({PROJECTED})"))),
            (f"shared-{letters}-negative", "what is shared has a different sign where it is read second", FILE,
             *alike(f"{KEYS}, {VALUES}", f"{KEYS}, {VALUES}".replace(others, f"-{others}"))),
            (f"shared-{letters}-halved", "what is shared is half as large where it is read second", FILE,
             *alike(f"{KEYS}, {VALUES}", f"{KEYS}, {VALUES}".replace(others, f"{others} / 2"))),
        )),
        *rows(f"{OF_ATTENTION}shared_{letters}", "layer", (
            (f"shared-{letters}-without-gradient", "what is shared is trained by its first use alone", FILE,
             *stopped(f"{KEYS}, {VALUES}", others)),
        ), "input gradient"),
    )
)

POSITIONS = (
    *rows(OF_ATTENTION + "rotary", "layer", (
        ("rotary-queries-not-turned", "the queries have no positions", FILE, *alike(QUERIES, 'self.project("q", x)')),
        ("rotary-keys-not-turned", "the keys have no positions", FILE, *alike(TURNED_KEYS, "return keys, values")),
        ("rotary-values-turned", "the values are turned as well", FILE,
         *alike(TURNED_KEYS, "return self.turn(keys, positions), self.turn(values, positions)")),
        ("rotary-halves", "a pair is a number of each half, not two neighbours", VARIANTS,
         *alike(PAIRS, "odd, even = wide[..., wide.shape[-1] // 2 :], wide[..., : wide.shape[-1] // 2]")),
        ("rotary-mirrored", "one of each pair has the wrong sign", VARIANTS, *alike("(-odd, even)", "(odd, even)")),
        ("rotary-short-periods", "the longest period is 1,000, not 10,000", VARIANTS,
         *alike("LONGEST_PERIOD = 10_000.0", "LONGEST_PERIOD = 1_000.0")),
    )),
    *rows("GPT:sinusoidal", "model", (
        ("gpt-sinusoids-from-one", "positions count from 1", VARIANTS,
         *each(COUNTED, "positions[..., None]", "(positions[..., None] + 1)")),
        ("gpt-sinusoids-swapped", "the cosine comes first", VARIANTS,
         *each(WAVES, "where(is_even, ", "where(~is_even, ")),
        ("sinusoids-of-single-places", "each place has an angle of its own", VARIANTS,
         *alike(PLACES, "np.arange(x.shape[-1])")),
        ("sinusoids-of-all-places", "the exponent runs to 2, not to 1", VARIANTS, *alike(PLACES, f"2 * ({PLACES})")),
        ("sinusoids-for-the-tokens-scaled", "tokens are multiplied by sqrt(E) first", FILE,
         *alike(ADDED, ADDED.replace("(inputs)", "(inputs) * self.config.embed_dim ** 0.5"))),
    )),
    *rows("GPT:without_positions", "model", (
        ("no-positions-but-sinusoids", "sinusoids tell the positions all the same", FILE,
         *alike(ADDED, ADDED.replace("add(", "attention_variants.add_sinusoids("))),
        ("no-positions-but-factors", "tokens are multiplied by the position's number", FILE,
         *alike(ADDED, ADDED.replace("positions)", "positions) * positions[..., None]"))),
        ("no-positions-and-no-tokens-scale", "tokens are multiplied by sqrt(E)", FILE,
         *alike(ADDED, ADDED.replace("(inputs)", "(inputs) * self.config.embed_dim ** 0.5"))),
        ("no-positions-reversed", "the tokens are read from the last to the first", FILE,
         (ADDED, ADDED.replace("(inputs)", "(inputs.flip(1))")),
         (ADDED, ADDED.replace("(inputs)", "(inputs[:, ::-1])"))),
    )),
)

ZEROS = rows(OF_ATTENTION + "zeroed", "mask", (
    ("zeroed-nowhere", "the hidden keys keep their weights", FILE,
     *each(ZEROED, "visible, attention", "visible | True, attention")),
    ("zeroed-its-own-past", "the visible keys are zeroed", FILE, *each(ZEROED, "(visible, ", "(~visible, ")),
    ("zeroed-to-a-tenth", "hidden keys get a weight of 0.1", FILE, *each(ZEROED, "0.0)", "0.1)")),
    ("zeroed-other-way-round", "keys and queries trade places in the mask", FILE,
     *each(ZEROED, "(visible, ", "(visible.swapaxes(-1, -2), ")),
))
# fmt: on

VARIANT_FAULTS = (*SIMILARITIES, *SHARED, *POSITIONS, *ZEROS)
