"""Precision faults: one step computed, or one tensor stored, with fewer digits."""

from crosscheck.faults.fault import Change, Fault, both_sides

PARTS, NORM, BLOCKS = "layers/attention.py", "layers/layer_norm.py", "layers/attention_blocks.py"
LOSSES, BACKEND, OBJECTIVE = "losses.py", "backend.py", "objective.py"
PRE = "x = x + self.attention(self.attention_norm(x), mask)"
LOGITS = "return self.classifier(self.transformer(inputs, mask))"
WEIGHTED, COEFFICIENTS = "(weights * values).sum()", "np.array(coefficients, training_state.MASTER_DTYPES[self.dtype])"
TORCH_COMPUTE, JAX_COMPUTE = "weight.to(getattr(torch, self.dtype))", "weight.astype(self.dtype)"
CLIPPED = "gradients = clipped(gradients, norm, self.training.clip_norm)"
MOVED = "weights, state = rule.update(weights, {name: gradients[name] for name in names}, tuple(state), row)"
JAX_MOVED = 'weights, state = rule.update(weights, {"": gradient}, tuple(state), coefficients)'
RUN, UPDATE = {"mode": "run"}, {"module": "optimizer", "phase": "update", "mode": "run"}

# fmt: off
ATTENTION = (
    *both_sides(
        "softmax-in-bfloat16", "precision", "the softmax of attention is computed in bfloat16, as in Linen", PARTS,
        ("wide = at_least_float32(scores)", "wide = scores.bfloat16()"),
        ("wide = at_least_float32(scores)", "wide = scores.astype(jnp.bfloat16)"),
        "MultiHeadedAttention", dtype="float32", divergence="D51",
    ),
    *both_sides(
        "softmax-in-float16", "precision", "the softmax of attention is computed in float16", PARTS,
        ("at_least_float32(A), dim", "A.half(), dim"), ("at_least_float32(A), axis", "A.astype(jnp.float16), axis"),
        "self_attention", dtype="float32", divergence="D51",
    ),
    *both_sides(
        "softmax-in-float32", "precision", "the softmax of attention is computed in float32 in a float64 model", PARTS,
        ("wide = at_least_float32(scores)", "wide = scores.float()"),
        ("wide = at_least_float32(scores)", "wide = scores.astype(jnp.float32)"),
        "PreNormAttentionBlock", "attention", divergence="D53",
    ),
    *both_sides(
        "scores-in-bfloat16", "precision", "the scores are rounded to bfloat16", PARTS,
        ('"...td,...sd->...ts", Q, K)', '"...td,...sd->...ts", Q, K).bfloat16().to(Q.dtype)'),
        ('"...td,...sd->...ts", Q, K)', '"...td,...sd->...ts", Q, K).astype(jnp.bfloat16).astype(Q.dtype)'),
        "PostNormAttentionBlock", "attention", dtype="float32",
    ),
    *both_sides(
        "attention-weights-in-bfloat16", "precision", "the weights are rounded to bfloat16 before the product", PARTS,
        ('"...ts,...sd->...td", A, V', '"...ts,...sd->...td", A.bfloat16().to(V.dtype), V'),
        ('"...ts,...sd->...td", A, V', '"...ts,...sd->...td", A.astype(jnp.bfloat16).astype(V.dtype), V'),
        "MultiHeadedAttention", dtype="float32",
    ),
)

REST_OF_A_MODEL = (
    *both_sides(
        "norm-in-bfloat16", "precision", "mean and variance are computed from bfloat16 entries", NORM,
        ("x = at_least_float32(inputs)", "x = inputs.bfloat16()"),
        ("x = at_least_float32(inputs)", "x = inputs.astype(jnp.bfloat16)"),
        "PreNormAttentionBlock", "attention_norm", dtype="float32",
    ),
    *both_sides(
        "norm-in-float32", "precision", "mean and variance are computed in float32 in a float64 model", NORM,
        ("x = at_least_float32(inputs)", "x = inputs.float()"),
        ("x = at_least_float32(inputs)", "x = inputs.astype(jnp.float32)"),
        "LayerNorm", case="mean_5000", divergence="D53",
    ),
    *both_sides(
        "widening-narrows", "precision", "widening bfloat16 to float32 also narrows float64 to float32", "precision.py",
        ("x.to(torch.promote_types(x.dtype, torch.float32))", "x.float()"),
        ("x.astype(jnp.promote_types(x.dtype, jnp.float32))", "x.astype(jnp.float32)"),
        "PostNormAttentionBlock", "attention", divergence="D53",
    ),
    *both_sides(
        "gelu-in-bfloat16", "precision", "the activation is computed in bfloat16", BLOCKS,
        ('F.gelu(self.in_proj(x), approximate="none")',
         'F.gelu(self.in_proj(x).bfloat16(), approximate="none").to(x.dtype)'),
        ("jax.nn.gelu(self.in_proj(x), approximate=False)",
         'jax.nn.gelu(self.in_proj(x).astype("bfloat16"), approximate=False).astype(x.dtype)'),
        "MLP", dtype="float32",
    ),
    *both_sides(
        "residual-in-bfloat16", "precision", "the residual path is rounded to bfloat16", BLOCKS,
        (PRE, "x = (x + self.attention(self.attention_norm(x), mask)).bfloat16().to(x.dtype)"),
        (PRE, 'x = (x + self.attention(self.attention_norm(x), mask)).astype("bfloat16").astype(x.dtype)'),
        "Transformer", "blocks.0", dtype="float32",
    ),
    *both_sides(
        "words-in-bfloat16", "precision", "the embedded words are rounded to bfloat16", "models/transformer.py",
        ("self.embedding(inputs)]", "self.embedding(inputs).bfloat16().to(cls_token.dtype)]"),
        ("self.embedding(inputs)]", "self.embedding(inputs).astype(jnp.bfloat16).astype(cls_token.dtype)]"),
        "Transformer", dtype="float32",
    ),
)

LOSS = (
    *both_sides(
        "logits-in-float16", "precision", "the logits are rounded to float16", "models/review_classifiers.py",
        (LOGITS, f"{LOGITS}.half().to(self.classifier.weight.dtype)"),
        (LOGITS, f'{LOGITS}.astype("float16").astype(self.classifier.kernel.dtype)'),
        "ReviewClassifierTransformer", dtype="float32",
    ),
    *both_sides(
        "loss-in-bfloat16", "precision", "the loss is computed in bfloat16", LOSSES,
        ("at_least_float32(logits)", "logits.bfloat16()"), ("at_least_float32(logits)", 'logits.astype("bfloat16")'),
        "cross_entropy", dtype="float32",
    ),
    *both_sides(
        "loss-in-float32", "precision", "the loss is computed in float32 in a float64 model", LOSSES,
        ("at_least_float32(logits)", "logits.float()"), ("at_least_float32(logits)", 'logits.astype("float32")'),
        "cross_entropy", divergence="D53",
    ),
    *both_sides(
        "mean-in-float16", "precision", "the rows are summed in float16", LOSSES,
        (WEIGHTED, "(weights * values).half().sum()"), (WEIGHTED, '(weights * values).astype("float16").sum()'),
        "weighted_mean", dtype="float32",
    ),
)

TRAINING = (
    *both_sides(
        "run-with-rounded-weights", "precision", "the weights are rounded to bfloat16 on their way in", OBJECTIVE,
        (TORCH_COMPUTE, f"{TORCH_COMPUTE}.bfloat16().to(weight.dtype)"),
        (JAX_COMPUTE, f'{JAX_COMPUTE}.astype("bfloat16").astype(weight.dtype)'),
        "ReviewClassifierTransformer", **RUN,
    ),
    *both_sides(
        "run-in-float32", "precision", "a float64 run is computed in float32", OBJECTIVE,
        (TORCH_COMPUTE, "weight.float()"), (JAX_COMPUTE, 'weight.astype("float32")'),
        "ReviewClassifierGRU", **RUN, divergence="D53",
    ),
    *both_sides(
        "gradients-in-bfloat16", "precision", "the gradients are rounded to bfloat16", BACKEND,
        (CLIPPED, f"{CLIPPED}\n        gradients = {{n: g.bfloat16().to(g.dtype) for n, g in gradients.items()}}"),
        (CLIPPED, f"{CLIPPED}\n"
         '        gradients = {n: g.astype("bfloat16").astype(g.dtype) for n, g in gradients.items()}'),
        "ReviewClassifierTransformer", **UPDATE,
    ),
    *both_sides(
        "weights-kept-in-bfloat16", "precision", "updated weights are rounded, losing the change", "update.py",
        (MOVED, f"{MOVED}\n            weights = {{n: w.bfloat16().to(w.dtype) for n, w in weights.items()}}"),
        (JAX_MOVED, f"{JAX_MOVED}\n"
         '    weights = {n: w.astype("bfloat16").astype(w.dtype) for n, w in weights.items()}'),
        "ReviewClassifierGRU", **UPDATE,
    ),
    Fault(
        "coefficients-in-float32/jax", "precision", "jax", "rate and corrections are float32 in a float64 run",
        (Change(f"jax_impl/{BACKEND}", COEFFICIENTS, "np.array(coefficients, np.float32)"),),
        "ReviewClassifierTransformer", **UPDATE, divergence="D53",
    ),
)
# fmt: on

PRECISION: tuple[Fault, ...] = (*ATTENTION, *REST_OF_A_MODEL, *LOSS, *TRAINING)
