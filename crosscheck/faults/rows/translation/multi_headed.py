"""Faults in the multi-head post-norm encoder and decoder."""

from crosscheck.faults.fault import Fault, alike, both_sides

FILE = "models/attention_is_all_you_need.py"
HIDDEN = {"torch": "F.relu(self.in_proj(x))", "jax": "jax.nn.relu(self.in_proj(x))"}
FED = {side: f"self.norm(x + self.dropout(self.out_proj({relu})))" for side, relu in HIDDEN.items()}
ENCODED = "x = feed_forward(norm(x + dropout(attended)))"
SEEN, CONTEXT = "x + self.self_dropouts[layer](seen)", "x + self.cross_dropouts[layer](context)"
SCALED = "vectors * math.sqrt(vectors.shape[-1])"


# fmt: off
FEED_FORWARD = (
    *both_sides(
        "heads-gelu", "layer", "the feed-forward layer has GELU, as in BERT", FILE,
        (HIDDEN["torch"], "F.gelu(self.in_proj(x))"),
        (HIDDEN["jax"], "jax.nn.gelu(self.in_proj(x), approximate=False)"),
        "PostNormFeedForward",
    ),
    *both_sides(
        "heads-fed-residual-missing", "layer", "the feed-forward output alone is normalised", FILE,
        *((fed, fed.replace("x + self.dropout", "self.dropout")) for fed in FED.values()), "PostNormFeedForward",
    ),
    *both_sides(
        "heads-fed-norm-inside", "layer", "the norm acts on the feed-forward output before the sum", FILE,
        *((fed, fed.replace("self.norm(x + self.dropout(", "(x + self.norm(")) for fed in FED.values()),
        "PostNormFeedForward",
    ),
    *both_sides(
        "heads-fed-without-dropout", "dropout", "the feed-forward output has no dropout", FILE,
        *((fed, fed.replace("self.dropout(", "(")) for fed in FED.values()), "PostNormFeedForward", mode="train",
    ),
)

STACKS = (
    *both_sides(
        "heads-norm-before-the-sum", "layer", "the norm acts on the attention before the sum", FILE,
        *alike(ENCODED, "x = feed_forward(x + dropout(norm(attended)))"), "PostNormEncoder",
    ),
    *both_sides(
        "heads-source-residual-missing", "layer", "the encoder's attention alone is normalised", FILE,
        *alike(ENCODED, "x = feed_forward(norm(dropout(attended)))"), "PostNormEncoder",
    ),
    *both_sides(
        "heads-source-without-dropout", "dropout", "the encoder's attention has no dropout", FILE,
        *alike(ENCODED, "x = feed_forward(norm(x + attended))"), "PostNormEncoder", mode="train",
    ),
    *both_sides(
        "heads-source-padding-read", "mask", "the encoder attends to padding", FILE,
        *alike("heads(x, x, source_mask)", "heads(x, x, source_mask | True)"), "PostNormEncoder",
    ),
    *both_sides(
        "heads-source-last-norm-missing", "layer", "the encoder ends without a norm", FILE,
        *alike("return self.last_norm(x)\n\n", "return x\n\n"), "PostNormEncoder",
    ),
    *both_sides(
        "heads-target-not-causal", "mask", "the decoder sees the letters to come", FILE,
        *alike("visible[None]", "visible[None] | True"), "PostNormDecoder",
    ),
    *both_sides(
        "heads-target-sees-the-next", "mask", "the decoder sees the letter after its own", FILE,
        *alike("places <=", "places - 1 <="), "PostNormDecoder",
    ),
    *both_sides(
        "heads-memory-padding-read", "mask", "the decoder attends to the source's padding", FILE,
        *alike("x, memory, source_mask)\n            x", "x, memory, source_mask | True)\n            x"),
        "PostNormDecoder",
    ),
    *both_sides(
        "heads-past-residual-missing", "layer", "attention over the past alone is normalised", FILE,
        *alike(SEEN, SEEN[len("x + "):]), "PostNormDecoder",
    ),
    *both_sides(
        "heads-context-residual-missing", "layer", "attention over the memory alone is normalised", FILE,
        *alike(CONTEXT, CONTEXT[len("x + "):]), "PostNormDecoder",
    ),
    *both_sides(
        "heads-one-norm-for-both", "layer", "the norm of the past is used twice", FILE,
        *alike("self.cross_norms[layer](x +", "self.self_norms[layer](x +"), "PostNormDecoder",
    ),
    *both_sides(
        "heads-context-without-dropout", "dropout", "attention over the memory has no dropout", FILE,
        *alike(CONTEXT, "x + context"), "PostNormDecoder", mode="train",
    ),
    *both_sides(
        "heads-target-last-norm-missing", "layer", "the decoder ends without a norm", FILE,
        *alike("return self.last_norm(x), weights", "return x, weights"), "PostNormDecoder",
    ),
    *both_sides(
        "heads-memory-without-gradient", "layer", "no gradient flows from the decoder into the encoder", FILE,
        ("self.decoder(target, self.encoder(source, source_mask), source_mask)",
         "self.decoder(target, self.encoder(source, source_mask).detach(), source_mask)"),
        ("self.decoder(target, self.encoder(source, source_mask), source_mask)",
         "self.decoder(target, jax.lax.stop_gradient(self.encoder(source, source_mask)), source_mask)"),
        "PostNormTransformer", "", "input gradient",
    ),
)

LETTERS = (
    *both_sides(
        "heads-letters-not-scaled", "model", "the letters are not multiplied by sqrt(E)", FILE,
        *alike(SCALED, "vectors"), "PositionedLetters",
    ),
    *both_sides(
        "heads-positions-scaled-too", "position", "the positions are multiplied by sqrt(E) too", FILE,
        *alike(f"self.positions({SCALED})", "self.positions(vectors) * math.sqrt(vectors.shape[-1])"),
        "PositionedLetters",
    ),
    *both_sides(
        "heads-letters-without-dropout", "dropout", "the positioned letters have no dropout", FILE,
        *alike(f"self.dropout(self.positions({SCALED}))", f"self.positions({SCALED})"),
        "PositionedLetters", mode="train",
    ),
    *both_sides(
        "heads-weights-of-the-first", "model", "the weights shown are those of the first head", FILE,
        *alike("weights.sum(1) / weights.shape[1]", "weights[:, 0]"), "MultiHeadedDecoder",
    ),
)
# fmt: on

MULTI_HEADED: tuple[Fault, ...] = (*FEED_FORWARD, *STACKS, *LETTERS)
