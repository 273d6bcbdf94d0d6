"""Faults in token embeddings and position vectors."""

from crosscheck.faults.fault import Change, Fault, alike, both_sides

EMBEDDING, POSITIONS = "layers/embedding.py", "layers/positions.py"
TORCH = "return F.embedding(ids, self.weight, self.padding_idx)"
JAX = "return vectors.astype(self.weight.dtype)"
JAX_TABLE = "table = at_least_float32(self.weight[...])"
TAKE = "jnp.take(table, ids,"
ADDED = "return x + self.weight[:, : x.shape[1]]"

# Short rows are easier to scan.
# fmt: off
TOKENS = (
    *both_sides(
        "padding-row-trained", "layer", "the padding token's row gets a gradient", EMBEDDING,
        (TORCH, "return F.embedding(ids, self.weight)"),
        ("if self.padding_idx is not None:", "if self.padding_idx is None:"),
        "Encoder", "embedding", "parameter gradient", case="one_example", divergence="D33",
    ),
    *both_sides(
        "padding-index-of-roberta", "layer", "token 1 is treated as padding, as in RoBERTa", EMBEDDING,
        *alike("self.padding_idx = padding_idx", "self.padding_idx = 1"),
        "Embedding", "", "parameter gradient", divergence="D33",
    ),
    *both_sides(
        "padding-vectors-zeroed", "layer", "padding is read as zeros whatever its row contains", EMBEDDING,
        (TORCH, f"{TORCH} * (ids != self.padding_idx)[..., None]"),
        (JAX, f"{JAX} * (ids != self.padding_idx)[..., None]"), "Encoder", "embedding", case="one_example",
    ),
    *both_sides(
        "embedding-scaled", "layer", "vectors are multiplied by the square root of their width", EMBEDDING,
        (TORCH, f"{TORCH} * self.weight.shape[1] ** 0.5"), (JAX, f"{JAX} * self.weight.shape[1] ** 0.5"), "Embedding",
    ),
    *both_sides(
        "ids-shifted-right", "layer", "each step reads the token before it", EMBEDDING,
        (TORCH, "return F.embedding(ids.roll(1, dims=1), self.weight, self.padding_idx)"),
        (TAKE, "jnp.take(table, jnp.roll(ids, 1, axis=1),"),
        "ReviewClassifierGRU:encoder_only", "encoder_decoder.encoder.embedding",
    ),
    *both_sides(
        "last-ids-clamped", "layer", "ids are clamped as if the table were shorter than it is", EMBEDDING,
        (TORCH, "return F.embedding(ids.clamp(max=len(self.weight) - 3), self.weight, self.padding_idx)"),
        (TAKE, "jnp.take(table, jnp.minimum(ids, len(table) - 3),"), "Embedding", divergence="D34",
    ),
    *both_sides(
        "embedding-frozen", "layer", "the table gets no gradient", EMBEDDING,
        (TORCH, "return F.embedding(ids, self.weight.detach(), self.padding_idx)"),
        (JAX_TABLE, "table = jax.lax.stop_gradient(at_least_float32(self.weight[...]))"),
        "Encoder", "embedding", "parameter gradient",
    ),
    *both_sides(
        "embedding-in-bfloat16", "precision", "vectors are rounded to bfloat16 in a float32 run", EMBEDDING,
        (TORCH, "return F.embedding(ids, self.weight, self.padding_idx).bfloat16().type_as(self.weight)"),
        (JAX, "return vectors.astype(jnp.bfloat16).astype(self.weight.dtype)"), "Embedding", dtype="float32",
    ),
    Fault(
        "embedding-gradient-by-frequency/torch", "layer", "torch", "a row's gradient is divided by its token's count",
        (Change(f"torch_impl/{EMBEDDING}", TORCH,
                "return F.embedding(ids, self.weight, self.padding_idx, None, 2.0, True)"),),
        "Embedding", "", "parameter gradient",
    ),
    Fault(
        "embedding-out-of-reach/jax", "layer", "jax", "the last rows are missing from the table, which gives NaN",
        (Change(f"jax_impl/{EMBEDDING}", TAKE, "jnp.take(table[:-3], ids,"),), "Embedding", "", "forward",
        divergence="D34",
    ),
)

PLACES = (
    *both_sides(
        "positions-start-at-one", "position", "position vectors are read starting from row 1", POSITIONS,
        *alike(ADDED, "return x + self.weight[:, 1 : x.shape[1] + 1]"), "LearnedPositions", divergence="D35",
    ),
    *both_sides(
        "positions-aligned-right", "position", "the last position takes the table's last row", POSITIONS,
        *alike(ADDED, "return x + self.weight[:, -x.shape[1] :]"), "Transformer", "positions",
    ),
    *both_sides(
        "positions-all-first", "position", "every step takes the vector of position 0", POSITIONS,
        *alike(ADDED, "return x + self.weight[:, :1]"), "LearnedPositions",
    ),
    *both_sides(
        "positions-reversed", "position", "positions are counted from the end", POSITIONS,
        (ADDED, "return x + self.weight[:, : x.shape[1]].flip(1)"),
        (ADDED, "return x + self.weight[:, : x.shape[1]][:, ::-1]"), "LearnedPositions",
    ),
    *both_sides(
        "positions-multiplied", "position", "the position vectors scale the inputs", POSITIONS,
        *alike(ADDED, "return x * self.weight[:, : x.shape[1]]"), "LearnedPositions", case="one_step",
    ),
    *both_sides(
        "positions-frozen", "position", "the position vectors get no gradient", POSITIONS,
        (ADDED, "return x + self.weight[:, : x.shape[1]].detach()"),
        (ADDED, "return x + jax.lax.stop_gradient(self.weight[:, : x.shape[1]])"),
        "LearnedPositions", "", "parameter gradient",
    ),
    *both_sides(
        "positions-stop-the-gradient", "position", "no gradient flows through the sum to the tokens", POSITIONS,
        (ADDED, "return x.detach() + self.weight[:, : x.shape[1]]"),
        (ADDED, "return jax.lax.stop_gradient(x) + self.weight[:, : x.shape[1]]"),
        "LearnedPositions", "", "input gradient",
    ),
)
# fmt: on

EMBEDDINGS = (*TOKENS, *PLACES)
