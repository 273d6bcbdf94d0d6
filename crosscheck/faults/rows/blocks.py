"""Faults in the parts of a transformer block: norms, MLP, residual paths."""

from crosscheck.faults.fault import Fault, alike, both_sides

NORM, BLOCKS_FILE = "layers/layer_norm.py", "layers/attention_blocks.py"
PRE, PRE_MLP = "x = x + self.attention(self.attention_norm(x), mask)", "return x + self.mlp(self.mlp_norm(x))"
POST, POST_MLP = "x = self.attention_norm(x + self.attention(x, mask))", "return self.mlp_norm(x + self.mlp(x))"
TORCH_GELU, JAX_GELU = 'F.gelu(self.in_proj(x), approximate="none")', "jax.nn.gelu(self.in_proj(x), approximate=False)"
ONE_MASK = "hidden = hidden * self.in_dropout(hidden[:1] * 0 + 1)"
TORCH_ROOT, JAX_ROOT = "torch.sqrt(variance + self.eps)", "jnp.sqrt(variance + self.eps)"
TORCH_CENTRED = "centred = shifted - shifted.mean(dim=-1, keepdim=True)"
JAX_CENTRED = "centred = shifted - shifted.mean(axis=-1, keepdims=True)"
TORCH_VARIANCE = "variance = (centred**2).mean(dim=-1, keepdim=True)"
JAX_VARIANCE = "variance = (centred**2).mean(axis=-1, keepdims=True)"

# fmt: off
NORMS = (
    *both_sides(
        "norm-eps-of-flax", "layer", "eps is 1e-6, Flax's default, not 1e-5", NORM,
        *alike("eps: float = 1e-5", "eps: float = 1e-6"),
        "PreNormAttentionBlock", "attention_norm", divergence="D18",
    ),
    *both_sides(
        "norm-eps-of-bert", "layer", "eps is 1e-12, BERT's, not 1e-5", NORM,
        *alike("eps: float = 1e-5", "eps: float = 1e-12"),
        "ReviewClassifierTransformer:postnorm", "transformer.blocks.0.attention_norm", divergence="D18",
    ),
    *both_sides(
        "norm-eps-outside-the-root", "layer", "eps is added to the deviation, not to the variance", NORM,
        (TORCH_ROOT, "(torch.sqrt(variance) + self.eps)"), (JAX_ROOT, "(jnp.sqrt(variance) + self.eps)"), "LayerNorm",
    ),
    *both_sides(
        "norm-variance-unbiased", "layer", "the variance is divided by n - 1", NORM,
        (TORCH_VARIANCE, "variance = x.var(dim=-1, keepdim=True)"),
        (JAX_VARIANCE, "variance = x.var(axis=-1, ddof=1, keepdims=True)"),
        "PostNormAttentionBlock", "attention_norm", divergence="D28",
    ),
    *both_sides(
        "norm-variance-fast", "layer", "the variance is E[x^2] - E[x]^2, which a large mean cancels out", NORM,
        (TORCH_VARIANCE, "variance = (x**2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2"),
        (JAX_VARIANCE, "variance = (x**2).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2"),
        "LayerNorm", case="mean_5000", divergence="D20",
    ),
    *both_sides(
        "norm-over-the-steps", "layer", "mean and variance are taken over the time axis", NORM,
        (f"{TORCH_CENTRED}\n        {TORCH_VARIANCE}",
         "centred = x - x.mean(dim=-2, keepdim=True)\n        variance = (centred**2).mean(dim=-2, keepdim=True)"),
        (f"{JAX_CENTRED}\n        {JAX_VARIANCE}",
         "centred = x - x.mean(axis=-2, keepdims=True)\n        variance = (centred**2).mean(axis=-2, keepdims=True)"),
        "PreNormAttentionBlock", "attention_norm",
    ),
    *both_sides(
        "norm-without-mean", "layer", "the mean is not subtracted, as in RMSNorm", NORM,
        (TORCH_CENTRED, "centred = x"), (JAX_CENTRED, "centred = x"), "Transformer", "blocks.0.attention_norm",
    ),
    *both_sides(
        "norm-divides-by-the-variance", "layer", "the root is missing", NORM,
        (TORCH_ROOT, "(variance + self.eps)"), (JAX_ROOT, "(variance + self.eps)"),
        "PreNormAttentionBlock", "attention_norm",
    ),
    *both_sides(
        "norm-bias-dropped", "layer", "the bias is not added", NORM,
        *alike("* self.weight + self.bias", "* self.weight"), "PostNormAttentionBlock", "attention_norm",
    ),
    *both_sides(
        "norm-bias-before-the-scale", "layer", "the bias is scaled too", NORM,
        *alike(") * self.weight + self.bias", " + self.bias) * self.weight"), "LayerNorm",
    ),
    *both_sides(
        "norm-scale-plus-one", "layer", "the weight is read as an offset from 1, as in Gemma", NORM,
        *alike("* self.weight + self.bias", "* (1 + self.weight) + self.bias"),
        "Transformer", "blocks.0.attention_norm",
    ),
    *both_sides(
        "norm-variance-without-gradient", "layer", "the variance is treated as a constant", NORM,
        (TORCH_ROOT, "torch.sqrt(variance.detach() + self.eps)"),
        (JAX_ROOT, "jnp.sqrt(jax.lax.stop_gradient(variance) + self.eps)"),
        "PreNormAttentionBlock", "mlp_norm", "input gradient",
    ),
    *both_sides(
        "norm-mean-without-gradient", "layer", "the mean is treated as a constant", NORM,
        (TORCH_CENTRED, "centred = shifted - shifted.mean(dim=-1, keepdim=True).detach()"),
        (JAX_CENTRED, "centred = shifted - jax.lax.stop_gradient(shifted.mean(axis=-1, keepdims=True))"),
        "ReviewClassifierTransformer", "transformer.norm", "input gradient",
    ),
    *both_sides(
        "norm-scale-frozen", "layer", "the weight gets no gradient", NORM,
        ("* self.weight + self.bias", "* self.weight.detach() + self.bias"),
        ("* self.weight + self.bias", "* jax.lax.stop_gradient(self.weight[...]) + self.bias"),
        "PostNormAttentionBlock", "mlp_norm", "parameter gradient",
    ),
)

MLPS = (
    *both_sides(
        "gelu-by-tanh", "layer", "GELU uses its tanh approximation, jax.nn.gelu's default", BLOCKS_FILE,
        ('approximate="none"', 'approximate="tanh"'), ("approximate=False", "approximate=True"),
        "ReviewClassifierTransformer", "transformer.blocks.0.mlp", divergence="D24",
    ),
    *both_sides(
        "gelu-by-sigmoid", "layer", "GELU is x sigmoid(1.702 x), as in CLIP", BLOCKS_FILE,
        (TORCH_GELU, "F.silu(1.702 * self.in_proj(x)) / 1.702"),
        (JAX_GELU, "jax.nn.silu(1.702 * self.in_proj(x)) / 1.702"), "PreNormAttentionBlock", "mlp",
    ),
    *both_sides(
        "relu-for-gelu", "layer", "the activation is ReLU", BLOCKS_FILE,
        (TORCH_GELU, "F.relu(self.in_proj(x))"), (JAX_GELU, "jax.nn.relu(self.in_proj(x))"), "MLP",
    ),
    *both_sides(
        "mlp-dropout-before-gelu", "dropout", "dropout comes before the activation", BLOCKS_FILE,
        (f"self.in_dropout({TORCH_GELU})", 'F.gelu(self.in_dropout(self.in_proj(x)), approximate="none")'),
        (f"self.in_dropout({JAX_GELU})", "jax.nn.gelu(self.in_dropout(self.in_proj(x)), approximate=False)"),
        "MLP", mode="train",
    ),
    *both_sides(
        "mlp-without-last-dropout", "dropout", "the MLP's output has no dropout", BLOCKS_FILE,
        *alike("return self.out_dropout(self.out_proj(hidden))", "return self.out_proj(hidden)"),
        "PreNormAttentionBlock", "mlp", mode="train",
    ),
    *both_sides(
        "mlp-one-mask-for-the-batch", "dropout", "all examples share one mask, as in Flax's attention", BLOCKS_FILE,
        (f"self.in_dropout({TORCH_GELU})", f"{TORCH_GELU}\n        {ONE_MASK}"),
        (f"self.in_dropout({JAX_GELU})", f"{JAX_GELU}\n        {ONE_MASK}"),
        "PostNormAttentionBlock", "mlp", mode="train", divergence="D41",
    ),
    *both_sides(
        "mlp-one-dropout-for-both", "dropout", "the first dropout is used in both places, with its key", BLOCKS_FILE,
        *alike("return self.out_dropout(self.out_proj(hidden))", "return self.in_dropout(self.out_proj(hidden))"),
        "MLP", mode="train",
    ),
)

RESIDUALS = (
    *both_sides(
        "prenorm-without-second-residual", "layer", "the MLP's input is not added to its output", BLOCKS_FILE,
        *alike(PRE_MLP, "return self.mlp(self.mlp_norm(x))"), "PreNormAttentionBlock",
    ),
    *both_sides(
        "prenorm-residual-of-the-norm", "layer", "the residual added to the attention is normalised too", BLOCKS_FILE,
        *alike(PRE, "x = self.attention_norm(x)\n        x = x + self.attention(x, mask)"), "Transformer", "blocks.0",
    ),
    *both_sides(
        "prenorm-one-norm-for-both", "layer", "the attention's norm is used before the MLP too", BLOCKS_FILE,
        *alike(PRE_MLP, "return x + self.mlp(self.attention_norm(x))"), "PreNormAttentionBlock",
    ),
    *both_sides(
        "prenorm-in-parallel", "layer", "attention and MLP read the same input, as in GPT-J", BLOCKS_FILE,
        *alike(f"{PRE}\n        {PRE_MLP}", f"y{PRE[1:]}\n        return y{PRE_MLP[8:]}"), "PreNormAttentionBlock",
    ),
    *both_sides(
        "prenorm-residual-without-gradient", "layer", "no gradient flows around the attention", BLOCKS_FILE,
        (PRE, "x = x.detach() + self.attention(self.attention_norm(x), mask)"),
        (PRE, "x = jax.lax.stop_gradient(x) + self.attention(self.attention_norm(x), mask)"),
        "Transformer", "blocks.1", "input gradient",
    ),
    *both_sides(
        "postnorm-norm-before-the-sum", "layer", "the attention is normalised and then added", BLOCKS_FILE,
        *alike(POST, "x = x + self.attention_norm(self.attention(x, mask))"), "Transformer:postnorm", "blocks.0",
    ),
    *both_sides(
        "postnorm-norms-swapped", "layer", "each norm is in the other's place", BLOCKS_FILE,
        *alike(
            f"{POST}\n        {POST_MLP}",
            "x = self.mlp_norm(x + self.attention(x, mask))\n        return self.attention_norm(x + self.mlp(x))",
        ),
        "PostNormAttentionBlock",
    ),
    *both_sides(
        "postnorm-residual-skips-attention", "layer", "the block's input is added to the MLP", BLOCKS_FILE,
        *alike(
            f"{POST}\n        {POST_MLP}",
            "y = self.attention_norm(x + self.attention(x, mask))\n        return self.mlp_norm(x + self.mlp(y))",
        ),
        "PostNormAttentionBlock",
    ),
    *both_sides(
        "postnorm-mlp-without-gradient", "layer", "no gradient flows through the MLP into the block", BLOCKS_FILE,
        (POST_MLP, "return self.mlp_norm(x + self.mlp(x.detach()))"),
        (POST_MLP, "return self.mlp_norm(x + self.mlp(jax.lax.stop_gradient(x)))"),
        "ReviewClassifierTransformer:postnorm", "transformer.blocks.1", "input gradient",
    ),
)
# fmt: on

BLOCKS: tuple[Fault, ...] = (*NORMS, *MLPS, *RESIDUALS)
