"""Faults in GPT's feed-forward layers, blocks, embeddings, head and loss."""

from crosscheck.faults.fault import Fault, alike, both_sides, both_sides_equal

FILE, LOSSES = "models/gpt.py", "losses.py"
GELU = {
    "torch": 'F.gelu(at_least_float32(hidden), approximate="tanh")',
    "jax": "jax.nn.gelu(at_least_float32(hidden), approximate=True)",
}
FED = "return self.out_dropout(self.out_proj(hidden))"
ATTEND = "x = x + self.causal_attention(self.attention_norm(x))"
FEED = "return x + self.feed_forward(self.feed_forward_norm(x))\n\n"
EMBEDDED = "self.dropout(self.token_embedding(inputs) + self.position_embedding(positions))"
COUNTED = {
    "torch": "torch.arange(inputs.shape[1], device=inputs.device)[None]",
    "jax": "jnp.arange(inputs.shape[1])[None]",
}
BLOCKS = "for block in self.blocks:\n            x = block(x)"
LOGITS = "return self.logits(self.norm(x))"
HEAD = "return table.attend(x)"
CHOSEN = "self.token_embedding if self.lm_head is None else self.lm_head"
PICKED = "labels[..., None]"
WEIGHTED = "return (weights * values).sum() / (total + (total == 0))"


def counted(torch: str, jax: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (COUNTED["torch"], torch), (COUNTED["jax"], jax)


# fmt: off
FEED_FORWARD = (
    *both_sides(
        "gpt-gelu-by-erf", "layer", "GELU is exact, not GPT-2's approximation by tanh", FILE,
        (GELU["torch"], GELU["torch"].replace("tanh", "none")), (GELU["jax"], GELU["jax"].replace("True", "False")),
        "GPT", "blocks.0.feed_forward", divergence="D24",
    ),
    *both_sides(
        "gpt-gelu-by-sigmoid", "layer", "GELU is x sigmoid(1.702 x), as in CLIP", FILE,
        (GELU["torch"], "(F.silu(1.702 * hidden) / 1.702)"), (GELU["jax"], "(jax.nn.silu(1.702 * hidden) / 1.702)"),
        "FeedForward",
    ),
    *both_sides(
        "gpt-relu", "layer", "the activation is ReLU, as in the first transformer", FILE,
        (GELU["torch"], "F.relu(hidden)"), (GELU["jax"], "jax.nn.relu(hidden)"), "GPTBlock", "feed_forward",
    ),
    *both_sides(
        "gpt-feed-forward-linear", "layer", "there is no activation", FILE,
        (GELU["torch"], "hidden"), (GELU["jax"], "hidden"), "FeedForward",
    ),
    *both_sides(
        "gpt-feed-forward-without-dropout", "dropout", "the feed-forward output has no dropout", FILE,
        *alike(FED, "return self.out_proj(hidden)"), "GPTBlock", "feed_forward", mode="train",
    ),
    *both_sides(
        "gpt-feed-forward-dropout-inside", "dropout", "dropout follows the activation, not the projection", FILE,
        *alike(FED, "return self.out_proj(self.out_dropout(hidden))"), "FeedForward", mode="train",
    ),
)

RESIDUALS = (
    *both_sides(
        "gpt-norm-after-the-sum", "layer", "the norm follows the sum, as in the first GPT", FILE,
        *alike(ATTEND, "x = self.attention_norm(x + self.causal_attention(x))"), "GPTBlock",
    ),
    *both_sides(
        "gpt-residual-of-the-norm", "layer", "the residual added to the attention is normalised too", FILE,
        *alike(ATTEND, "x = self.attention_norm(x)\n        x = x + self.causal_attention(x)"), "GPT", "blocks.0",
    ),
    *both_sides(
        "gpt-residual-missing", "layer", "the block's input is not added to the attention", FILE,
        *alike(ATTEND, "x = self.causal_attention(self.attention_norm(x))"), "GPTBlock",
    ),
    *both_sides(
        "gpt-second-residual-missing", "layer", "the attention is not added to the feed-forward output", FILE,
        *alike(FEED, FEED.replace("x + ", "")), "GPT", "blocks.0",
    ),
    *both_sides(
        "gpt-one-norm-for-both", "layer", "the attention's norm is used twice", FILE,
        *alike(FEED, FEED.replace("feed_forward_norm", "attention_norm")), "GPTBlock",
    ),
    *both_sides(
        "gpt-in-parallel", "layer", "attention and feed-forward read the same input, as in GPT-J", FILE,
        *alike(f"{ATTEND}\n        {FEED}", f"y{ATTEND[1:]}\n        {FEED.replace('return x', 'return y')}"),
        "GPTBlock",
    ),
    *both_sides(
        "gpt-residual-without-gradient", "layer", "no gradient flows around the attention", FILE,
        (ATTEND, ATTEND.replace("= x", "= x.detach()")), (ATTEND, ATTEND.replace("= x", "= jax.lax.stop_gradient(x)")),
        "GPT", "blocks.1", "input gradient",
    ),
)

EMBEDDINGS = (
    *both_sides(
        "gpt-positions-from-one", "position", "the first token has position 1", FILE,
        *counted(f"{COUNTED['torch']} + 1", f"{COUNTED['jax']} + 1"), "GPT", divergence="D35",
    ),
    *both_sides(
        "gpt-positions-reversed", "position", "the last token has position 0", FILE,
        *counted(f"{COUNTED['torch']}.flip(1)", f"{COUNTED['jax']}[:, ::-1]"), "GPT",
    ),
    *both_sides(
        "gpt-positions-all-equal", "position", "every token has position 0", FILE,
        *counted(f"{COUNTED['torch']} * 0", f"{COUNTED['jax']} * 0"), "GPT:untied",
    ),
    *both_sides(
        "gpt-positions-of-the-tokens", "position", "the position vector is multiplied in, not added", FILE,
        *alike(EMBEDDED, EMBEDDED.replace(" + ", " * ")), "GPT",
    ),
    *both_sides(
        "gpt-tokens-scaled", "model", "the token vectors are multiplied by sqrt(E), as in Vaswani", FILE,
        *alike(EMBEDDED, EMBEDDED.replace("(inputs)", "(inputs) * self.config.embed_dim ** 0.5")), "GPT",
    ),
    *both_sides(
        "gpt-tokens-without-dropout", "dropout", "the embedded tokens have no dropout", FILE,
        *alike(EMBEDDED, EMBEDDED[len("self.dropout"):]), "GPT", mode="train",
    ),
    *both_sides(
        "gpt-dropout-of-the-tokens-alone", "dropout", "the tokens have dropout, their positions do not", FILE,
        *alike(EMBEDDED, "self.dropout(self.token_embedding(inputs)) + self.position_embedding(positions)"),
        "GPT", mode="train",
    ),
    *both_sides(
        "gpt-positions-without-gradient", "model", "the positions are not trained", FILE,
        (EMBEDDED, EMBEDDED.replace("(positions))", "(positions).detach())")),
        (EMBEDDED, EMBEDDED.replace("self.position_embedding(positions)",
                                    "jax.lax.stop_gradient(self.position_embedding(positions))")),
        "GPT", "", "input gradient",
    ),
)

DEPTH_AND_HEAD = (
    *both_sides(
        "gpt-blocks-in-reverse", "model", "the last block comes first", FILE,
        *alike(BLOCKS, BLOCKS.replace("self.blocks", "reversed(list(self.blocks))")), "GPT",
    ),
    *both_sides(
        "gpt-blocks-share-weights", "model", "the first block is used at every depth", FILE,
        *alike(BLOCKS, BLOCKS.replace("block(x)", "self.blocks[0](x)")), "GPT",
    ),
    *both_sides(
        "gpt-last-block-skipped", "model", "the last block is left out", FILE,
        *alike(BLOCKS, BLOCKS.replace("self.blocks", "list(self.blocks)[:-1]")), "GPT",
    ),
    *both_sides(
        "gpt-blocks-cut-off", "model", "no gradient flows from a block to the one before", FILE,
        (BLOCKS, BLOCKS.replace("(x)", "(x.detach())")), (BLOCKS, BLOCKS.replace("(x)", "(jax.lax.stop_gradient(x))")),
        "GPT", "", "input gradient",
    ),
    *both_sides(
        "gpt-last-norm-missing", "model", "the head reads the residual path itself", FILE,
        *alike(LOGITS, "return self.logits(x)"), "GPT",
    ),
    *both_sides(
        "gpt-logits-of-the-token-before", "model", "every step gives the logits of the step before", FILE,
        (LOGITS, "return self.logits(self.norm(x).roll(1, 1))"),
        (LOGITS, "return self.logits(jnp.roll(self.norm(x), 1, 1))"), "GPT",
    ),
    *both_sides(
        "gpt-head-scaled", "model", "the logits are divided by sqrt(E), as in T5", FILE,
        *alike(HEAD, f"{HEAD} * x.shape[-1] ** -0.5"), "GPT",
    ),
    *both_sides(
        "gpt-head-always-tied", "model", "the head's own table is never read", FILE,
        *alike(CHOSEN, "self.token_embedding"), "GPT:untied",
    ),
    *both_sides(
        "gpt-tied-gradient-missing", "model", "the table gets its gradient as an embedding alone", FILE,
        (HEAD, "return x @ table.weight.detach().T"), (HEAD, "return x @ jax.lax.stop_gradient(table.weight[...]).T"),
        "GPT", "token_embedding", "parameter gradient",
    ),
    *both_sides(
        "gpt-tokens-without-gradient", "model", "the table gets its gradient from the head alone", FILE,
        (EMBEDDED, EMBEDDED.replace("(inputs)", "(inputs).detach()")),
        (EMBEDDED, EMBEDDED.replace("self.token_embedding(inputs)",
                                    "jax.lax.stop_gradient(self.token_embedding(inputs))")),
        "GPT", "", "input gradient",
    ),
)

NEXT_TOKENS = (
    *both_sides(
        "gpt-targets-of-the-step-before", "loss", "every step is judged by the target of the step before", LOSSES,
        (PICKED, "labels.roll(1, -1)[..., None]"), (PICKED, "jnp.roll(labels, 1, -1)[..., None]"),
        "cross_entropy:tokens",
    ),
    *both_sides(
        "gpt-targets-of-the-next-step", "loss", "every step is judged by the target of the next", LOSSES,
        (PICKED, "labels.roll(-1, -1)[..., None]"), (PICKED, "jnp.roll(labels, -1, -1)[..., None]"),
        "cross_entropy:tokens",
    ),
    *both_sides(
        "gpt-loss-over-padding", "loss", "padding counts like any token", LOSSES,
        *alike(WEIGHTED, "return (1.0 * values).mean()"), "weighted_mean:tokens", divergence="D31",
    ),
    *both_sides(
        "gpt-loss-by-sequence", "loss", "every sequence counts alike, however few tokens it has", LOSSES,
        *alike(WEIGHTED, "return ((weights * values).sum(-1) / weights.sum(-1)).mean()"), "weighted_mean:tokens",
    ),
)

EQUIVALENTS_MODEL = (
    *both_sides_equal(
        "gpt-head-of-the-scaled-norm", "the norm is doubled and the logits are halved", FILE,
        *alike(LOGITS, "return self.logits(self.norm(x) * 2) / 2"), "GPT",
    ),
    *both_sides_equal(
        "gpt-positions-first", "the position vector comes first in the sum", FILE,
        *alike(EMBEDDED, "self.dropout(self.position_embedding(positions) + self.token_embedding(inputs))"),
        "GPT", dtype="float32",
    ),
)
# fmt: on

MODEL: tuple[Fault, ...] = (*FEED_FORWARD, *RESIDUALS, *EMBEDDINGS, *DEPTH_AND_HEAD, *NEXT_TOKENS)
