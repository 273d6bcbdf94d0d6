"""Faults in the GRU: its cell, and its scan over time."""

from crosscheck.faults.fault import alike, both_sides

GRU = "layers/gru.py"
NEW_STATE = "return (1 - z) * n + z * h"
CANDIDATE = {"torch": "n = torch.tanh(x_n + r * h_n)", "jax": "n = jnp.tanh(x_n + r * h_n)"}
UPDATE = {"torch": "z = torch.sigmoid(x_z + h_z)", "jax": "z = jax.nn.sigmoid(x_z + h_z)"}
GATES = {
    "torch": "r = torch.sigmoid(x_r + h_r)\n        z = torch.sigmoid(x_z + h_z)",
    "jax": "r = jax.nn.sigmoid(x_r + h_r)\n        z = jax.nn.sigmoid(x_z + h_z)",
}
KEEP = {
    "torch": "h = torch.where(is_valid, self.step(projected, h), h)",
    "jax": "h = jnp.where(is_valid, self.step(projected, h), h)",
}

# Short rows are easier to scan.
# fmt: off
CELL = (
    *both_sides(
        "gru-update-gate-swapped", "layer", "z weights the candidate and 1 - z the old state", GRU,
        *alike(NEW_STATE, "return z * n + (1 - z) * h"), "GRUCell",
    ),
    *both_sides(
        "gru-old-state-added-whole", "layer", "the candidate is not weighted by 1 - z", GRU,
        *alike(NEW_STATE, "return n + z * h"), "EncoderDecoder", "encoder.rnn.forward_cells.0",
    ),
    *both_sides(
        "gru-reset-before-product", "layer", "the reset gate multiplies the state before the product, not after", GRU,
        (CANDIDATE["torch"], "weight, bias = (p.chunk(3)[2] for p in (self.hidden_proj.weight, self.hidden_proj.bias))"
         "\n        n = torch.tanh(x_n + (r * h) @ weight.T + bias)"),
        (CANDIDATE["jax"], "kernel = jnp.split(self.hidden_proj.kernel[...], 3, axis=1)[2]"
         "\n        n = jnp.tanh(x_n + (r * h) @ kernel + jnp.split(self.hidden_proj.bias[...], 3)[2])"),
        "GRU", "cells.0", divergence="D06",
    ),
    *both_sides(
        "gru-gates-in-keras-order", "layer", "the first third is read as the update gate, as Keras stacks it", GRU,
        (GATES["torch"], "z = torch.sigmoid(x_r + h_r)\n        r = torch.sigmoid(x_z + h_z)"),
        (GATES["jax"], "z = jax.nn.sigmoid(x_r + h_r)\n        r = jax.nn.sigmoid(x_z + h_z)"),
        "BidirectionalGRU", "forward_cells.0", divergence="D03",
    ),
    *both_sides(
        "gru-input-gates-swapped", "layer", "reset and update are swapped on the input side only", GRU,
        *alike("x_r, x_z, x_n =", "x_z, x_r, x_n ="), "DecoderAttn", "rnn.cells.0", divergence="D03",
    ),
    *both_sides(
        "gru-hidden-bias-dropped", "layer", "the candidate has no hidden bias, as in nnx.GRUCell", GRU,
        (CANDIDATE["torch"], "n = torch.tanh(x_n + r * (h_n - self.hidden_proj.bias.chunk(3)[2]))"),
        (CANDIDATE["jax"], "n = jnp.tanh(x_n + r * (h_n - jnp.split(self.hidden_proj.bias[...], 3)[2]))"),
        "Encoder", "rnn.forward_cells.0", divergence="D04",
    ),
    *both_sides(
        "gru-hidden-bias-outside-reset", "layer", "the candidate's hidden bias is added next to the input's", GRU,
        (CANDIDATE["torch"], "bias = self.hidden_proj.bias.chunk(3)[2]"
         "\n        n = torch.tanh(x_n + bias + r * (h_n - bias))"),
        (CANDIDATE["jax"], "bias = jnp.split(self.hidden_proj.bias[...], 3)[2]"
         "\n        n = jnp.tanh(x_n + bias + r * (h_n - bias))"),
        "GRU", "cells.0", divergence="D04",
    ),
    *both_sides(
        "gru-gate-biases-merged", "layer", "one bias per gate is trained where there are two", GRU,
        (GATES["torch"], "b_r, b_z, _ = (self.hidden_proj.bias.detach() - self.hidden_proj.bias).chunk(3)"
         "\n        r = torch.sigmoid(x_r + h_r + b_r)\n        z = torch.sigmoid(x_z + h_z + b_z)"),
        (GATES["jax"], "bias = self.hidden_proj.bias[...]"
         "\n        b_r, b_z, _ = jnp.split(jax.lax.stop_gradient(bias) - bias, 3)"
         "\n        r = jax.nn.sigmoid(x_r + h_r + b_r)\n        z = jax.nn.sigmoid(x_z + h_z + b_z)"),
        "GRUCell", "hidden_proj", "parameter gradient", divergence="D05",
    ),
    *both_sides(
        "gru-candidate-sigmoid", "layer", "the candidate uses a sigmoid", GRU,
        (CANDIDATE["torch"], "n = torch.sigmoid(x_n + r * h_n)"),
        (CANDIDATE["jax"], "n = jax.nn.sigmoid(x_n + r * h_n)"), "GRUCell",
    ),
    *both_sides(
        "gru-hard-sigmoid", "layer", "the update gate is Keras's old hard sigmoid", GRU,
        (UPDATE["torch"], "z = torch.clamp(0.2 * (x_z + h_z) + 0.5, 0.0, 1.0)"),
        (UPDATE["jax"], "z = jnp.clip(0.2 * (x_z + h_z) + 0.5, 0.0, 1.0)"), "GRU:two_layers", "cells.0",
    ),
    *both_sides(
        "gru-reset-missing", "layer", "the candidate sees the whole state, without a reset", GRU,
        (CANDIDATE["torch"], "n = torch.tanh(x_n + h_n)"), (CANDIDATE["jax"], "n = jnp.tanh(x_n + h_n)"),
        "GRU", "cells.0", case="one_step",
    ),
    *both_sides(
        "gru-update-blind-to-state", "layer", "the update gate sees only the input", GRU,
        (UPDATE["torch"], "z = torch.sigmoid(x_z)"), (UPDATE["jax"], "z = jax.nn.sigmoid(x_z)"),
        "Encoder", "rnn.forward_cells.0",
    ),
    *both_sides(
        "gru-carry-gradient-stopped", "layer", "no gradient flows through z * h", GRU,
        (NEW_STATE, "return (1 - z) * n + z * h.detach()"),
        (NEW_STATE, "return (1 - z) * n + z * jax.lax.stop_gradient(h)"), "GRUCell", "", "input gradient",
    ),
    *both_sides(
        "gru-gate-gradient-stopped", "layer", "no gradient flows through the update gate", GRU,
        (UPDATE["torch"], UPDATE["torch"] + ".detach()"),
        (UPDATE["jax"], "z = jax.lax.stop_gradient(jax.nn.sigmoid(x_z + h_z))"),
        "DecoderAttn", "rnn.cells.0", "input gradient",
    ),
    *both_sides(
        "gru-state-in-bfloat16", "precision", "the state is rounded to bfloat16 after each step", GRU,
        (NEW_STATE, "return ((1 - z) * n + z * h).bfloat16().to(h.dtype)"),
        (NEW_STATE, "return ((1 - z) * n + z * h).astype(jnp.bfloat16).astype(h.dtype)"),
        "GRU", "cells.0", dtype="float32",
    ),
    *both_sides(
        "gru-gate-in-float32", "precision", "the update gate is computed in float32 in a float64 run", GRU,
        (UPDATE["torch"], "z = torch.sigmoid((x_z + h_z).float()).to(h.dtype)"),
        (UPDATE["jax"], "z = jax.nn.sigmoid((x_z + h_z).astype(jnp.float32)).astype(h.dtype)"),
        "GRUCell", divergence="D53",
    ),
)

SCAN = (
    *both_sides(
        "gru-state-runs-on", "mask", "the state keeps changing in the padding", GRU,
        (KEEP["torch"], "h = self.step(projected, h)"), (KEEP["jax"], "h = self.step(projected, h)"),
        "GRU", "cells.0", divergence="D39",
    ),
    *both_sides(
        "gru-state-zeroed-by-padding", "mask", "the state is zero in the padding, not carried over", GRU,
        (KEEP["torch"], "h = torch.where(is_valid, self.step(projected, h), 0.0)"),
        (KEEP["jax"], "h = jnp.where(is_valid, self.step(projected, h), 0.0)"), "DecoderAttn", "rnn.cells.0",
    ),
    *both_sides(
        "gru-padded-outputs-kept", "mask", "outputs in the padding hold the last state, not zero", GRU,
        ("outputs.append(torch.where(is_valid, h, 0.0))", "outputs.append(h)"),
        ("return h, jnp.where(is_valid, h, 0.0)", "return h, h"), "GRU", "cells.0", divergence="D39",
    ),
    *both_sides(
        "gru-output-one-step-late", "layer", "the output is the state before the step", GRU,
        (f"{KEEP['torch']}\n            outputs.append(torch.where(is_valid, h, 0.0))",
         "outputs.append(torch.where(is_valid, h, 0.0))\n            " + KEEP["torch"]),
        (f"{KEEP['jax']}\n            return h, jnp.where(is_valid, h, 0.0)",
         "return jnp.where(is_valid, self.step(projected, h), h), jnp.where(is_valid, h, 0.0)"),
        "EncoderDecoder", "encoder.rnn.forward_cells.0",
    ),
    *both_sides(
        "gru-state-detached-at-each-step", "layer", "no gradient flows through time", GRU,
        (KEEP["torch"], "h = torch.where(is_valid, self.step(projected, h.detach()), h)"),
        (KEEP["jax"], "h = jnp.where(is_valid, self.step(projected, jax.lax.stop_gradient(h)), h)"),
        "GRU", "cells.0", "input gradient",
    ),
    *both_sides(
        "bigru-outputs-not-turned-back", "layer", "the backward outputs run from the last step to the first", GRU,
        ("torch.stack(outputs[::-1] if reverse else outputs, dim=1)", "torch.stack(outputs, dim=1)"),
        ("return outputs.swapaxes(0, 1), h", "return (outputs[::-1] if reverse else outputs).swapaxes(0, 1), h"),
        "Encoder", "rnn.backward_cells.0",
    ),
    *both_sides(
        "bigru-reads-one-way", "layer", "the backward direction starts from the first step", GRU,
        ("in reversed(steps) if reverse else steps:", "in steps:"),
        ("jax.lax.scan(step, h, steps, reverse=reverse)", "jax.lax.scan(step, h, steps)"),
        "BidirectionalGRU", "backward_cells.0",
    ),
)
# fmt: on

RECURRENT = (*CELL, *SCAN)
