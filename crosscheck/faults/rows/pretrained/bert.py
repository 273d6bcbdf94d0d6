"""Faults in BERT and RoBERTa: embeddings, positions, depth, pooler and heads."""

from crosscheck.faults.fault import Fault, alike, both_sides

FILE = "models/bert.py"
COUNTED = {
    "torch": "torch.arange(inputs.shape[1], device=inputs.device)",
    "jax": "jnp.arange(inputs.shape[1])",
}
AFTER_PADDING = "is_token.cumsum(1) * is_token + padding_idx"
IS_TOKEN = "inputs != padding_idx"
TYPED = "x = x + self.token_type_embedding("
NORMED = "return self.dropout(self.norm(x + self.position_embedding(positions)))"
LAYER = "x, weights = layer(states[-1], mask)"
POOLED = "activate(self.pooler(self.pooler_dropout(x[:, 0])), self.config.pooler_activation)"
HEAD = "self.head(self.dropout(self.bert(inputs, mask, token_types)[1]))"
TRANSFORMED = "x = self.head_norm(activate(self.head(x), self.activation))"
SCORED = "self.bert.embeddings.token_embedding.attend(x)"

# fmt: off
BERT: tuple[Fault, ...] = (
    *both_sides(
        "bert-positions-reversed", "position", "the last token has position 0", FILE,
        (COUNTED["torch"], f"{COUNTED['torch']}.flip(0)"), (COUNTED["jax"], f"{COUNTED['jax']}[::-1]"),
        "BertModel", "embeddings",
    ),
    *both_sides(
        "bert-positions-from-one", "position", "the first token has position 1", FILE,
        (COUNTED["torch"], f"({COUNTED['torch']} + 1)"), (COUNTED["jax"], f"({COUNTED['jax']} + 1)"),
        "BertEmbeddings", divergence="D35",
    ),
    *both_sides(
        "roberta-positions-from-padding", "position", "the first token has the position of padding", FILE,
        *alike(AFTER_PADDING, f"({AFTER_PADDING} - 1 * is_token)"), "BertModel:roberta", "embeddings", divergence="D35",
    ),
    *both_sides(
        "roberta-padding-counts", "position", "padding takes up positions", FILE,
        *alike(AFTER_PADDING, "(is_token | True).cumsum(1) + padding_idx"), "BertModel:roberta", "embeddings",
        divergence="D35",
    ),
    *both_sides(
        "roberta-padding-like-the-last-token", "position", "padding has the position of the token before", FILE,
        *alike(AFTER_PADDING, "is_token.cumsum(1) + padding_idx"), "BertModel:roberta", "embeddings", divergence="D35",
    ),
    *both_sides(
        "roberta-padding-by-zero", "position", "padding is token 0 whatever the config says", FILE,
        *alike(IS_TOKEN, "inputs != 0"), "BertModel:roberta", "embeddings", divergence="D35",
    ),
    *both_sides(
        "bert-types-missing", "model", "the types of tokens are not added", FILE,
        *alike(TYPED, "x = x + 0 * self.token_type_embedding("), "BertEmbeddings",
    ),
    *both_sides(
        "bert-types-all-zero", "model", "all tokens have type 0", FILE,
        *alike("if token_types is None else token_types)", "if token_types is None else token_types * 0)"),
        "BertModel", "embeddings",
    ),
    *both_sides(
        "bert-norm-before-positions", "position", "the positions are added after the norm", FILE,
        *alike(NORMED, "return self.dropout(self.norm(x) + self.position_embedding(positions))"), "BertEmbeddings",
    ),
    *both_sides(
        "bert-embeddings-without-norm", "model", "the sum is not normalised", FILE,
        *alike(NORMED, "return self.dropout(x + self.position_embedding(positions))"), "BertModel", "embeddings",
    ),
    *both_sides(
        "bert-embeddings-without-dropout", "dropout", "the embedded tokens have no dropout", FILE,
        *alike(NORMED, "return self.norm(x + self.position_embedding(positions))"), "BertEmbeddings", mode="train",
    ),
    *both_sides(
        "bert-layers-read-the-embeddings", "model", "every layer reads the embedded tokens", FILE,
        *alike(LAYER, LAYER.replace("-1", "0")), "BertModel",
    ),
    *both_sides(
        "bert-mask-forgotten", "mask", "the layers are not told the mask", FILE,
        *alike(LAYER, LAYER.replace(", mask", "")), "BertModel:distilbert",
    ),
    *both_sides(
        "bert-pooled-last-token", "model", "the last token is pooled, not the first", FILE,
        *alike(POOLED, POOLED.replace("0]", "-1]")), "BertModel",
    ),
    *both_sides(
        "bert-pooler-linear", "model", "the pooler has no tanh", FILE,
        *alike(POOLED, "self.pooler(self.pooler_dropout(x[:, 0]))"), "BertModel",
    ),
    *both_sides(
        "distilbert-pooler-by-tanh", "model", "the pooler has a tanh whatever the config says", FILE,
        *alike(POOLED, POOLED.replace("self.config.pooler_activation", '"tanh"')),
        "BertForSentenceClassification:distilbert", "bert",
    ),
    *both_sides(
        "roberta-pooler-without-dropout", "dropout", "the state has no dropout before the pooler", FILE,
        *alike(POOLED, POOLED.replace("self.pooler_dropout(x[:, 0])", "x[:, 0]")),
        "BertForSentenceClassification:roberta", "bert", mode="train",
    ),
    *both_sides(
        "bert-first-state-through-no-pooler", "model", "without a pooler the mean is pooled", FILE,
        *alike("            return x[:, 0]\n", "            return x.mean(1)\n"), "BertModel:distilbert",
    ),
    *both_sides(
        "bert-head-without-dropout", "dropout", "the pooled output has no dropout", FILE,
        *alike(HEAD, HEAD.replace("self.dropout(self.bert(inputs, mask, token_types)[1])",
                                  "self.bert(inputs, mask, token_types)[1]")),
        "BertForSentenceClassification", mode="train",
    ),
    *both_sides(
        "bert-head-with-dropout-of-layers", "dropout", "the head has the dropout of the layers", FILE,
        ("Dropout(config.head_dropout)", "Dropout(config.dropout)"),
        ("Dropout(config.head_dropout, rngs", "Dropout(config.dropout, rngs"),
        "BertForSentenceClassification:distilbert", "dropout", mode="train",
    ),
    *both_sides(
        "bert-head-without-mask", "mask", "the classifier's encoder sees padding", FILE,
        *alike(HEAD, HEAD.replace("inputs, mask, token_types", "inputs, None, token_types")),
        "BertForSentenceClassification",
    ),
    *both_sides(
        "bert-transform-without-norm", "model", "the states are not normalised before the table of tokens", FILE,
        *alike(TRANSFORMED, "x = activate(self.head(x), self.activation)"), "BertForMaskedLM",
    ),
    *both_sides(
        "bert-transform-linear", "model", "the head has no activation", FILE,
        *alike(TRANSFORMED, "x = self.head_norm(self.head(x))"), "BertForMaskedLM",
    ),
    *both_sides(
        "bert-logits-without-bias", "model", "the tokens have no bias of their own", FILE,
        (f"{SCORED} + self.head_bias", f"{SCORED} + 0 * self.head_bias"),
        (f"{SCORED} + self.head_bias", f"{SCORED} + 0 * self.head_bias"), "BertForMaskedLM",
    ),
    *both_sides(
        "bert-logits-scaled", "model", "the logits are divided by sqrt(E), as in T5", FILE,
        *alike(SCORED, f"{SCORED} * x.shape[-1] ** -0.5"), "BertForMaskedLM",
    ),
)
# fmt: on
