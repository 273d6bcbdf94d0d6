"""Faults in the transformer as a whole: CLS token, mask, block order, pooling."""

from crosscheck.faults.fault import Fault, alike, both_sides

MODEL, CLASSIFIER = "models/transformer.py", "models/review_classifiers.py"
EMBEDDED = "[cls_token, self.embedding(inputs)]"
POSITIONS = "x = self.dropout(self.positions(x))"
POOLED = "return self.norm(x[:, 0])"
CLASSIFIED = "return self.classifier(self.transformer(inputs, mask))"
TORCH_MASK, JAX_MASK = "[torch.ones_like(mask[:, :1]), mask]", "[jnp.ones_like(mask[:, :1]), mask]"
TORCH_CLS, JAX_CLS = "self.cls_token.expand(", "jnp.broadcast_to(self.cls_token[...]"
TORCH_JOIN = f"x = torch.cat({EMBEDDED}, dim=1)\n        {POSITIONS}"
JAX_JOIN = f"x = jnp.concatenate({EMBEDDED}, axis=1)\n        {POSITIONS}"

# fmt: off
INPUTS = (
    *both_sides(
        "cls-token-at-the-end", "position", "the CLS token follows the words, and the first word is pooled", MODEL,
        *alike(EMBEDDED, "[self.embedding(inputs), cls_token]"), "Transformer",
    ),
    *both_sides(
        "cls-token-without-position", "position", "the words count from 0 and the CLS token has no position", MODEL,
        (TORCH_JOIN, "x = torch.cat([cls_token, self.positions(self.embedding(inputs))], dim=1)"
         "\n        x = self.dropout(x)"),
        (JAX_JOIN, "x = jnp.concatenate([cls_token, self.positions(self.embedding(inputs))], axis=1)"
         "\n        x = self.dropout(x)"),
        "Transformer",
    ),
    *both_sides(
        "cls-token-frozen", "model", "the CLS token gets no gradient", MODEL,
        (TORCH_CLS, "self.cls_token.detach().expand("),
        (JAX_CLS, "jnp.broadcast_to(jax.lax.stop_gradient(self.cls_token[...])"),
        "Transformer", "", "parameter gradient",
    ),
    *both_sides(
        "words-scaled-by-the-width", "model", "the embeddings are multiplied by sqrt(E), as in Vaswani", MODEL,
        *alike(EMBEDDED, "[cls_token, self.embedding(inputs) * self.cls_token.shape[-1] ** 0.5]"),
        "ReviewClassifierTransformer", "transformer",
    ),
    *both_sides(
        "words-without-gradient", "model", "the embedding is not trained", MODEL,
        (EMBEDDED, "[cls_token, self.embedding(inputs).detach()]"),
        (EMBEDDED, "[cls_token, jax.lax.stop_gradient(self.embedding(inputs))]"), "Transformer", "", "input gradient",
    ),
    *both_sides(
        "words-without-dropout", "dropout", "the embedded words have no dropout", MODEL,
        *alike(POSITIONS, "x = self.positions(x)"), "Transformer", mode="train",
    ),
    *both_sides(
        "dropout-before-positions", "dropout", "the words have dropout, their positions do not", MODEL,
        *alike(POSITIONS, "x = self.positions(self.dropout(x))"), "Transformer", mode="train",
    ),
)

MASKS = (
    *both_sides(
        "cls-token-hidden", "mask", "no position sees the CLS token", MODEL,
        (TORCH_MASK, "[torch.zeros_like(mask[:, :1]), mask]"), (JAX_MASK, "[jnp.zeros_like(mask[:, :1]), mask]"),
        "Transformer",
    ),
    *both_sides(
        "mask-one-place-early", "mask", "the CLS token's entry is appended to the mask, not put before it", MODEL,
        (TORCH_MASK, "[mask, torch.ones_like(mask[:, :1])]"), (JAX_MASK, "[mask, jnp.ones_like(mask[:, :1])]"),
        "ReviewClassifierTransformer", "transformer",
    ),
    *both_sides(
        "mask-not-given-to-the-blocks", "mask", "the blocks see no mask", MODEL,
        *alike("x = block(x, mask)", "x = block(x)"), "Transformer",
    ),
    *both_sides(
        "mask-not-given-to-the-transformer", "mask", "the classifier does not pass the mask on", CLASSIFIER,
        *alike(CLASSIFIED, "return self.classifier(self.transformer(inputs))"), "ReviewClassifierTransformer",
    ),
    *both_sides(
        "mask-given-upside-down", "mask", "the classifier passes a mask of the padding", CLASSIFIER,
        *alike(CLASSIFIED, "return self.classifier(self.transformer(inputs, mask == 0))"),
        "ReviewClassifierTransformer", divergence="D38",
    ),
)

DEPTH = (
    *both_sides(
        "blocks-in-reverse", "model", "the last block comes first", MODEL,
        *alike("for block in self.blocks:", "for block in reversed(list(self.blocks)):"), "Transformer",
    ),
    *both_sides(
        "blocks-share-weights", "model", "the first block is used at every depth", MODEL,
        *alike("x = block(x, mask)", "x = self.blocks[0](x, mask)"), "Transformer:postnorm",
    ),
    *both_sides(
        "blocks-cut-off", "model", "no gradient flows from a block to the previous one", MODEL,
        ("x = block(x, mask)", "x = block(x.detach(), mask)"),
        ("x = block(x, mask)", "x = block(jax.lax.stop_gradient(x), mask)"), "Transformer", "", "input gradient",
    ),
    *both_sides(
        "pooled-first-word", "position", "position 1 is pooled", MODEL,
        *alike(POOLED, "return self.norm(x[:, 1])"), "Transformer",
    ),
    *both_sides(
        "pooled-mean", "model", "the mean of all positions is pooled", MODEL,
        *alike(POOLED, "return self.norm(x).mean(1)"), "ReviewClassifierTransformer", "transformer",
    ),
    *both_sides(
        "pooled-without-norm", "model", "the final norm is missing", MODEL,
        *alike(POOLED, "return x[:, 0]"), "Transformer",
    ),
    *both_sides(
        "transformer-frozen", "model", "only the classifier is trained", CLASSIFIER,
        (CLASSIFIED, "return self.classifier(self.transformer(inputs, mask).detach())"),
        (CLASSIFIED, "from jax.lax import stop_gradient\n\n"
         "        return self.classifier(stop_gradient(self.transformer(inputs, mask)))"),
        "ReviewClassifierTransformer", "", "input gradient",
    ),
    *both_sides(
        "logits-as-log-probabilities", "model", "the logits are normalised, which the loss does too", CLASSIFIER,
        (CLASSIFIED, f"{CLASSIFIED}.log_softmax(-1)"),
        (CLASSIFIED, f"return nnx.log_softmax({CLASSIFIED[7:]})"), "ReviewClassifierTransformer",
    ),
)
# fmt: on

TRANSFORMER: tuple[Fault, ...] = (*INPUTS, *MASKS, *DEPTH)
