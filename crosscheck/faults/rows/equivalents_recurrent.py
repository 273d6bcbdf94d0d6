"""Harmless changes to the recurrent layers: the same numbers, computed differently. Every check must accept them."""

from crosscheck.faults.fault import TORCH_MASK, Change, Equivalent, alike, both_sides_equal

GRU, ENCODER, MODEL = "layers/gru.py", "layers/encoder.py", "models/encoder_decoder.py"
ATTENTION, EMBEDDING, POSITIONS = "layers/soft_attention.py", "layers/embedding.py", "layers/positions.py"
DROPOUT, BITS = "dropout.py", "random_bits.py"
NEW_STATE = "return (1 - z) * n + z * h"

# Short rows are easier to scan.
# fmt: off
CELLS = (
    *both_sides_equal(
        "gru-state-by-difference", "the new state is the candidate plus z of the difference", GRU,
        *alike(NEW_STATE, "return n + z * (h - n)"), "GRU",
    ),
    *both_sides_equal(
        "gru-state-by-step", "the new state is the old one plus a step towards the candidate", GRU,
        *alike(NEW_STATE, "return h + (1 - z) * (n - h)"), "EncoderDecoder",
    ),
    *both_sides_equal(
        "gru-sigmoid-by-tanh", "the reset gate's sigmoid is written with tanh", GRU,
        ("r = torch.sigmoid(x_r + h_r)", "r = 0.5 * (1 + torch.tanh(0.5 * (x_r + h_r)))"),
        ("r = jax.nn.sigmoid(x_r + h_r)", "r = 0.5 * (1 + jnp.tanh(0.5 * (x_r + h_r)))"), "GRUCell",
    ),
    *both_sides_equal(
        "gru-gates-by-slices", "the gates are split by slices, not chunks", GRU,
        ("x_r, x_z, x_n = projected.chunk(3, dim=-1)", "size = self.hidden_size"
         "\n        x_r, x_z, x_n = (projected[..., i * size : (i + 1) * size] for i in range(3))"),
        ("x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)", "size = self.hidden_size"
         "\n        x_r, x_z, x_n = (projected[..., i * size : (i + 1) * size] for i in range(3))"), "BidirectionalGRU",
    ),
    *both_sides_equal(
        "gru-terms-in-another-order", "the bias-free part of the candidate is summed first", GRU,
        ("n = torch.tanh(x_n + r * h_n)", "bias = self.hidden_proj.bias.chunk(3)[2]"
         "\n        n = torch.tanh(r * (h_n - bias) + (r * bias + x_n))"),
        ("n = jnp.tanh(x_n + r * h_n)", "bias = jnp.split(self.hidden_proj.bias[...], 3)[2]"
         "\n        n = jnp.tanh(r * (h_n - bias) + (r * bias + x_n))"), "GRUCell",
    ),
    *both_sides_equal(
        "gru-padding-by-product", "padding is excluded by multiplying with 0 and 1, not by selection", GRU,
        ("h = torch.where(is_valid, self.step(projected, h), h)",
         "h = is_valid * self.step(projected, h) + ~is_valid * h"),
        ("h = jnp.where(is_valid, self.step(projected, h), h)",
         "h = is_valid * self.step(projected, h) + ~is_valid * h"), "GRU",
    ),
    *both_sides_equal(
        "lengths-by-counting", "valid steps are found by counting from one", GRU,
        ("torch.arange(steps, device=inputs.device) < lengths[:, None]",
         "torch.ones_like(inputs[..., 0], dtype=torch.int64).cumsum(1) <= lengths[:, None]"),
        ("jnp.arange(steps) < lengths[:, None]",
         "jnp.ones((batch_size, steps), dtype=int).cumsum(1) <= lengths[:, None]"), "GRU:two_layers",
    ),
)

LAYERS = (
    *both_sides_equal(
        "encoder-directions-by-sum", "the directions are summed along a separate axis", ENCODER,
        ("ahead, back = x.chunk(2, dim=-1)\n        return ahead + back,",
         "return x.unflatten(-1, (2, -1)).sum(dim=-2),"),
        ("ahead, back = jnp.split(x, 2, axis=-1)\n        return ahead + back,",
         "return x.reshape(*x.shape[:-1], 2, -1).sum(axis=-2),"), "Encoder",
    ),
    *both_sides_equal(
        "soft-attention-products-apart", "inputs and state are multiplied separately, not concatenated", ATTENTION,
        ("self.W(torch.cat([inputs, last], dim=-1))", "inputs @ self.W.weight[:, : inputs.shape[-1]].T"
         " + last @ self.W.weight[:, inputs.shape[-1] :].T + self.W.bias"),
        ("self.W(jnp.concatenate([inputs, last], axis=-1))", "inputs @ self.W.kernel[: inputs.shape[-1]]"
         " + last @ self.W.kernel[inputs.shape[-1] :] + self.W.bias"), "Attn",
    ),
    *both_sides_equal(
        "soft-attention-shifted-score", "V's bias is subtracted from the score, which the softmax ignores", ATTENTION,
        ("energy.sum(dim=-1)", "(energy - self.V.bias).sum(dim=-1)"),
        ("energy.sum(axis=-1)", "(energy - self.V.bias).sum(axis=-1)"), "DecoderAttn",
    ),
    *both_sides_equal(
        "soft-attention-context-by-einsum", "the context is a matrix product", ATTENTION,
        ("return outputs.sum(dim=1) if", 'return torch.einsum("bth,bto->bh", inputs, weights) if'),
        ("return outputs.sum(axis=1) if", 'return jnp.einsum("bth,bto->bh", inputs, weights) if'), "Attn:context",
    ),
    *both_sides_equal(
        "embedding-by-product", "rows are selected by a product with ones and zeros", EMBEDDING,
        ("return F.embedding(ids, self.weight, self.padding_idx)",
         "chosen = F.one_hot(ids, len(self.weight)).to(self.weight.dtype)"
         "\n        padding = (self.weight.detach() - self.weight)[self.padding_idx]"
         "\n        return chosen @ self.weight + (ids == self.padding_idx)[..., None] * padding"),
        ('jnp.take(table, ids, axis=0, mode="fill", fill_value=jnp.nan)',
         "jax.nn.one_hot(ids, len(table), dtype=table.dtype) @ table"), "Embedding",
    ),
    *both_sides_equal(
        "positions-by-index", "rows are selected by index", POSITIONS,
        ("self.weight[:, : x.shape[1]]", "self.weight[0, torch.arange(x.shape[1])]"),
        ("self.weight[:, : x.shape[1]]", "self.weight[0, jnp.arange(x.shape[1])]"), "LearnedPositions",
    ),
    *both_sides_equal(
        "summary-by-first-slice", "position 0 is taken as a slice of one step", MODEL,
        *alike("x[:, 0]", "x[:, :1].squeeze(1)"),
        "ReviewClassifierGRU",
    ),
)

MASKS = (
    *both_sides_equal(
        "dropout-by-product", "kept elements are multiplied by 1 / (1 - rate), the others by 0", DROPOUT,
        ("torch.where(keep, x / (1.0 - self.rate), 0.0)", "x * (keep.to(x.dtype) / (1.0 - self.rate))"),
        ("jnp.where(keep, x / (1.0 - self.rate), 0.0)", "x * (keep * (1.0 / (1.0 - self.rate)))"),
        "Encoder", mode="train",
    ),
    Equivalent(
        "random-mask-by-uniform/jax", "jax", "the mask compares uniform numbers, not their bits",
        (Change(f"jax_impl/{BITS}", "(random_bits(key, shape, first=first) >> 32 - UNIFORM_BITS) < threshold",
                "jax.random.uniform(_typed(key), shape, jnp.float32) < threshold / 2**UNIFORM_BITS"),),
        "Attn", mode="train",
    ),
    Equivalent(
        "random-mask-by-uniform/torch", "torch", "the mask compares fractions, not bits",
        (Change(f"torch_impl/{BITS}", TORCH_MASK,
                "random_bits(key, shape, device).double() / 2.0**32 < threshold / 2.0**UNIFORM_BITS"),),
        "Attn", mode="train",
    ),
)
# fmt: on

EQUIVALENTS_RECURRENT = (*CELLS, *LAYERS, *MASKS)
