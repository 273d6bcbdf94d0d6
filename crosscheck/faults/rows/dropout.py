"""Faults in dropout: rate, scale, masks, and where layers apply it."""

from crosscheck.faults.fault import TORCH_MASK, Change, Fault, alike, both_sides

FILE, BITS = "dropout.py", "random_bits.py"
ATTENTION, ENCODER, DECODER = "layers/soft_attention.py", "layers/encoder.py", "layers/decoder.py"
WHERE = {
    "torch": "return torch.where(keep, x / (1.0 - self.rate), 0.0)",
    "jax": "return jnp.where(keep, x / (1.0 - self.rate), 0.0)",
}
TRAIN = {"mode": "train"}

# Short rows are easier to scan.
# fmt: off
LAYER = (
    *both_sides(
        "dropout-not-scaled", "dropout", "kept elements are not scaled up", FILE,
        *alike("x / (1.0 - self.rate)", "x"), "MLP", "in_dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-scaled-by-rate", "dropout", "kept elements are divided by the drop rate", FILE,
        *alike("x / (1.0 - self.rate)", "x / self.rate"), "Attn", "dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-scale-in-float32", "precision", "the scale is a float32 number in a float64 run", FILE,
        ("x / (1.0 - self.rate)", "x / torch.tensor(1.0 - self.rate, dtype=torch.float32)"),
        ("x / (1.0 - self.rate)", "x / jnp.float32(1.0 - self.rate)"), "MLP", "in_dropout", **TRAIN, divergence="D54",
    ),
    *both_sides(
        "dropout-drops-the-kept", "dropout", "the elements to keep are dropped", FILE,
        (WHERE["torch"], "return torch.where(keep, 0.0, x / (1.0 - self.rate))"),
        (WHERE["jax"], "return jnp.where(keep, 0.0, x / (1.0 - self.rate))"), "Encoder", "dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-rate-is-keep-rate", "dropout", "the rate is used as the keep rate, as in TensorFlow 1", FILE,
        *alike("rng.keep_threshold(self.rate)", "rng.keep_threshold(1.0 - self.rate)"), "Attn", "dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-in-eval", "dropout", "elements are dropped in eval mode too", FILE,
        ("if not self.training or self.rate == 0.0:", "if self.rate == 0.0:"),
        ("if self.deterministic or self.rate == 0.0:", "if self.rate == 0.0:"), "MLP", "in_dropout",
    ),
    *both_sides(
        "dropout-scales-in-eval", "dropout", "eval mode scales down although training scaled up", FILE,
        *alike("return x\n        keep", "return x * (1.0 - self.rate)\n        keep"), "Attn", "dropout",
    ),
    *both_sides(
        "dropout-off-in-training", "dropout", "the mode is inverted", FILE,
        ("if not self.training or", "if self.training or"),
        ("if self.deterministic or", "if not self.deterministic or"),
        "DecoderAttn", "dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-gradient-not-masked", "dropout", "the gradient passes through dropped elements", FILE,
        (WHERE["torch"], "dropped = torch.where(keep, x / (1.0 - self.rate), 0.0)\n        "
         "return x + (dropped - x).detach()"),
        (WHERE["jax"], "dropped = jnp.where(keep, x / (1.0 - self.rate), 0.0)\n        "
         "return x + jax.lax.stop_gradient(dropped - x)"), "Attn", "dropout", "input gradient", **TRAIN,
    ),
)

MASKS = (
    *both_sides(
        "dropout-mask-shared-by-batch", "dropout", "all examples drop the same elements", FILE,
        *alike("random_mask(self.key, x.shape,", "random_mask(self.key, x.shape[1:],"), "MLP", "in_dropout", **TRAIN,
        divergence="D41",
    ),
    *both_sides(
        "dropout-of-whole-vectors", "dropout", "all features of a step are dropped together", FILE,
        *alike("random_mask(self.key, x.shape,", "random_mask(self.key, (*x.shape[:-1], 1),"), "Encoder", "dropout",
        **TRAIN,
    ),
    *both_sides(
        "dropout-one-key-for-all", "dropout", "every layer draws the same mask", FILE,
        ("rng.fold_in_name(key, path)", "key"),
        ("_fold_in_name(jnp.asarray(key, jnp.uint32), path)", "jnp.asarray(key, jnp.uint32)"),
        "MLP", "in_dropout", **TRAIN, divergence="D42",
    ),
    *both_sides(
        "dropout-key-of-last-name", "dropout", "layers with the same name draw the same mask at any depth", FILE,
        ("rng.fold_in_name(key, path)", 'rng.fold_in_name(key, path.rpartition(".")[2])'),
        ("jnp.uint32), path)", "jnp.uint32), path[-1:])"), "EncoderDecoder", "encoder.dropout", **TRAIN,
    ),
    *both_sides(
        "dropout-key-of-jax-path", "dropout", "paths are joined with slashes, as in a Flax tree", FILE,
        ("rng.fold_in_name(key, path)", 'rng.fold_in_name(key, path.replace(".", "/"))'),
        ('".".join(map(str, path))', '"/".join(map(str, path))'), "PreNormAttentionBlock", "mlp.in_dropout", **TRAIN,
    ),
    *both_sides(
        "random-key-words-swapped", "dropout", "the lower word of the key comes first", BITS,
        ("rng.random_mask(key,", "rng.random_mask(key[::-1],"),
        ("uint32), impl=", "uint32)[::-1], impl="), "Attn", "dropout", **TRAIN,
    ),
    *both_sides(
        "random-lower-bits", "dropout", "the lower 23 bits are compared, not the upper", BITS,
        (TORCH_MASK, "(random_bits(key, shape, device, first) & 2**UNIFORM_BITS - 1) < threshold"),
        ("(random_bits(key, shape, first=first) >> 32 - UNIFORM_BITS) < threshold",
         "(random_bits(key, shape, first=first) & 2**UNIFORM_BITS - 1) < threshold"), "Attn", "dropout", **TRAIN,
    ),
    *both_sides(
        "random-mask-by-columns", "dropout", "the mask is filled column by column", BITS,
        (TORCH_MASK, TORCH_MASK.replace(".reshape(shape)", ".reshape(shape[::-1]).permute(*range(len(shape))[::-1])")),
        ("bits(_typed(key), shape, jnp.uint32)", "bits(_typed(key), shape[::-1], jnp.uint32).T"),
        "MLP", "in_dropout", **TRAIN,
    ),
    *both_sides(
        "random-stream-late-by-one", "dropout", "the stream starts at its second element", BITS,
        ("threshold, first))", "threshold, first + 1))"),
        ("barrier((random_bits(key, shape, first=first)", "barrier((random_bits(key, shape, first=first + 1)"),
        "Attn", "dropout", **TRAIN,
    ),
    Fault(
        "random-mask-of-signed-bits/torch", "dropout", "torch", "signed bits are compared: the upper half is negative",
        (Change(f"torch_impl/{BITS}", TORCH_MASK,
                "random_bits(key, shape, device, first).to(torch.int32) >> 32 - UNIFORM_BITS < threshold"),),
        "Attn", "dropout", "forward", **TRAIN,
    ),
    Fault(
        "random-other-checksum/jax", "dropout", "jax", "a layer's name is folded in with Adler-32, not CRC-32",
        (Change(f"jax_impl/{FILE}", "zlib.crc32(name)", "zlib.adler32(name)"),),
        "MLP", "in_dropout", "forward", **TRAIN,
    ),
    Fault(
        "random-key-split-first/jax", "dropout", "jax", "the key is split before use, as is usual in JAX",
        (Change(f"jax_impl/{BITS}", "bits(_typed(key),", "bits(jax.random.split(_typed(key))[0],"),),
        "Attn", "dropout", "forward", **TRAIN, divergence="D42",
    ),
)

PLACES = (
    *both_sides(
        "soft-attention-dropout-missing", "dropout", "the attention weights are not dropped", ATTENTION,
        *alike("inputs * self.dropout(weights)", "inputs * weights"), "Attn", **TRAIN,
    ),
    *both_sides(
        "soft-attention-dropout-on-inputs", "dropout", "the inputs are dropped, not their weights", ATTENTION,
        *alike("inputs * self.dropout(weights)", "self.dropout(inputs) * weights"), "Attn", **TRAIN,
    ),
    *both_sides(
        "soft-attention-returns-dropped", "dropout", "the returned weights are those after dropout", ATTENTION,
        *alike("outputs = inputs * self.dropout(weights)", "weights = self.dropout(weights)"
               "\n        outputs = inputs * weights"), "Attn", **TRAIN,
    ),
    *both_sides(
        "encoder-dropout-missing", "dropout", "the embedded tokens are not dropped", ENCODER,
        *alike("self.dropout(self.embedding(inputs))", "self.embedding(inputs)"), "Encoder", **TRAIN,
    ),
    *both_sides(
        "decoder-dropout-missing", "dropout", "the attention sees the inputs before dropout", DECODER,
        *alike("self.attention(x,", "self.attention(inputs,"), "EncoderDecoder", "decoder", **TRAIN,
    ),
)
# fmt: on

DROPOUT = (*LAYER, *MASKS, *PLACES)
