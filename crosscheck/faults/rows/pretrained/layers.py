"""Faults in the layers of pretrained encoders: attention, activations, norms, residuals, dropout."""

from crosscheck.faults.fault import Fault, alike, both_sides, both_sides_equal

ATTENTION, LAYERS_FILE, CURVES = (
    "layers/pretrained/self_attention.py",
    "layers/pretrained/encoder_layers.py",
    "layers/pretrained/activations.py",
)
SCORES = "attention.pairwise_similarities(queries, keys)"
SOFTMAX = "attention.masked_softmax(scores, mask, axis=-1)"
ROOT = "x.shape[-1], self.num_heads)"
READ = "attention.compute_outputs(self.weights_dropout(weights), values)"
PROJECTED = "self.q_proj(x), self.k_proj(x), self.v_proj(x)"
HIDDEN = "mask[:, None, None, :]"
FIRST = "x = self.attention_norm(x + self.attention_dropout(attended))"
SECOND = "return self.mlp_norm(x + self.mlp_dropout(self.activated_mlp(x))), weights"
BEFORE = "self.self_attention(self.attention_norm(x), mask)"
AFTER = "return x + self.activated_mlp(self.mlp_norm(x)), weights"
ADDED = "x = x + attended"
EXACT = {"torch": 'F.gelu(x, approximate="none")', "jax": "jax.nn.gelu(x, approximate=False)"}
TANH = {"torch": 'F.gelu(x, approximate="tanh")', "jax": "jax.nn.gelu(x, approximate=True)"}
QUICK = {"torch": "torch.sigmoid(1.702 * x)", "jax": "jax.nn.sigmoid(1.702 * x)"}

# fmt: off
IN_ATTENTION = (
    *both_sides(
        "encoder-scale-missing", "layer", "the scores are not divided by sqrt(d)", ATTENTION,
        *alike(f"attention.attn_scaled({SCORES}, {ROOT}", SCORES), "SelfAttention",
    ),
    *both_sides(
        "encoder-scale-of-all-heads", "layer", "the scores are divided by the root of the whole width", ATTENTION,
        *alike(ROOT, "x.shape[-1], 1)"), "BertModel", "layers.0.self_attention",
    ),
    *both_sides(
        "encoder-keys-are-queries", "layer", "the keys are projected like the queries", ATTENTION,
        *alike(PROJECTED, PROJECTED.replace("k_proj", "q_proj")), "PostNormLayer", "self_attention",
    ),
    *both_sides(
        "encoder-values-are-keys", "layer", "the values are projected like the keys", ATTENTION,
        *alike(PROJECTED, PROJECTED.replace("v_proj", "k_proj")), "SelfAttention",
    ),
    *both_sides(
        "encoder-padding-seen", "mask", "padding is attended to", ATTENTION,
        *alike(SOFTMAX, SOFTMAX.replace("mask,", "None,")),
        "BertModel:roberta", "layers.0.self_attention",
    ),
    *both_sides(
        "encoder-mask-hides-queries", "mask", "the mask hides queries, not keys", ATTENTION,
        *alike(HIDDEN, "mask[:, None, :, None]"), "SelfAttention",
    ),
    *both_sides(
        "encoder-mask-inverted", "mask", "the mask hides the tokens", ATTENTION,
        *alike(HIDDEN, f"{HIDDEN} == 0"), "PreNormLayer", "self_attention",
    ),
    *both_sides(
        "encoder-softmax-over-queries", "layer", "each key's weights sum to 1, not each query's", ATTENTION,
        *alike(SOFTMAX, SOFTMAX.replace("-1", "-2")), "SelfAttention",
    ),
    *both_sides(
        "encoder-weights-without-dropout", "dropout", "the weights have no dropout", ATTENTION,
        *alike(READ, READ.replace("self.weights_dropout(weights)", "weights")), "SelfAttention", mode="train",
    ),
    *both_sides(
        "encoder-output-projection-missing", "layer", "the heads are not mixed", ATTENTION,
        *alike("return self.out_proj(y), weights", "return y, weights"), "SelfAttention",
    ),
)

IN_LAYERS = (
    *both_sides(
        "bert-norm-before-attention", "layer", "the attention's sum is not normalised", LAYERS_FILE,
        *alike(FIRST, "x = x + self.attention_dropout(attended)"), "PostNormLayer",
    ),
    *both_sides(
        "bert-residual-missing", "layer", "the input is not added to the attention", LAYERS_FILE,
        *alike(FIRST, FIRST.replace("x + ", "")), "BertModel", "layers.0",
    ),
    *both_sides(
        "bert-second-residual-missing", "layer", "the attention is not added to the MLP", LAYERS_FILE,
        *alike(SECOND, SECOND.replace("x + ", "")), "PostNormLayer",
    ),
    *both_sides(
        "bert-one-norm-for-both", "layer", "the attention's norm is used twice", LAYERS_FILE,
        *alike(SECOND, SECOND.replace("self.mlp_norm", "self.attention_norm")), "BertModel:distilbert", "layers.0",
    ),
    *both_sides(
        "bert-mlp-without-dropout", "dropout", "the MLP's output has no dropout", LAYERS_FILE,
        *alike(SECOND, SECOND.replace("self.mlp_dropout(self.activated_mlp(x))", "self.activated_mlp(x)")),
        "PostNormLayer", mode="train",
    ),
    *both_sides(
        "bert-attention-without-dropout", "dropout", "the attention's output has no dropout", LAYERS_FILE,
        *alike(FIRST, FIRST.replace("self.attention_dropout(attended)", "attended")), "PostNormLayer", mode="train",
    ),
    *both_sides(
        "clip-attention-not-normalised", "layer", "the attention reads what is not normalised", LAYERS_FILE,
        *alike(BEFORE, "self.self_attention(x, mask)"), "PreNormLayer",
    ),
    *both_sides(
        "clip-mlp-not-normalised", "layer", "the MLP reads what is not normalised", LAYERS_FILE,
        *alike(AFTER, AFTER.replace("self.mlp_norm(x)", "x")), "PreNormLayer",
    ),
    *both_sides(
        "clip-residual-missing", "layer", "the attention replaces what it should be added to", LAYERS_FILE,
        *alike(ADDED, "x = attended"), "CLIPTextModel", "layers.0",
    ),
    *both_sides(
        "clip-second-residual-missing", "layer", "the MLP replaces what it should be added to", LAYERS_FILE,
        *alike(AFTER, AFTER.replace("x + ", "")), "CLIPVisionModel", "layers.0",
    ),
    *both_sides(
        "encoder-mlp-linear", "layer", "the MLP has no activation", LAYERS_FILE,
        *alike("activate(self.in_proj(x), self.activation)", "self.in_proj(x)"), "ActivatedMLP",
    ),
    *both_sides(
        "encoder-activation-fixed", "layer", "the config's activation is not read", LAYERS_FILE,
        *alike("self.in_proj(x), self.activation)", 'self.in_proj(x), "gelu")'), "ActivatedMLP:silu",
    ),
)

IN_CURVES = (
    *both_sides(
        "encoder-gelu-by-tanh", "layer", "the exact GELU is the approximation by tanh", CURVES,
        (EXACT["torch"], TANH["torch"]), (EXACT["jax"], TANH["jax"]), "ActivatedMLP", divergence="D24",
    ),
    *both_sides(
        "encoder-gelu-new-exact", "layer", "the approximation by tanh is the exact GELU", CURVES,
        (TANH["torch"], EXACT["torch"]), (TANH["jax"], EXACT["jax"]), "ActivatedMLP:gelu_new", divergence="D24",
    ),
    *both_sides(
        "encoder-quick-gelu-by-silu", "layer", "the logistic GELU has no factor 1.702", CURVES,
        (QUICK["torch"], "torch.sigmoid(x)"), (QUICK["jax"], "jax.nn.sigmoid(x)"), "ActivatedMLP:quick_gelu",
    ),
)

EQUIVALENTS_LAYERS = (
    *both_sides_equal(
        "encoder-sum-the-other-way", "the branch comes first in the sum", LAYERS_FILE,
        *alike(ADDED, "x = attended + x"), "PreNormLayer", dtype="float32",
    ),
    *both_sides_equal(
        "encoder-scaled-queries", "the queries are scaled, not the scores", ATTENTION,
        *alike(
            f"attention.attn_scaled({SCORES}, {ROOT}",
            "attention.pairwise_similarities(queries * queries.shape[-1] ** -0.5, keys)",
        ),
        "SelfAttention",
    ),
)
# fmt: on

LAYERS: tuple[Fault, ...] = (*IN_ATTENTION, *IN_LAYERS, *IN_CURVES)
