"""Faults in the fused layers of a GRU: lengths, directions and weights on both sides, and JAX's own backward pass."""

from crosscheck.faults.fault import Change, Fault, both_sides

FUSED = "layers/fused_gru.py"


def _backward(name: str, what: str, old: str, new: str, module: str = "", phase: str = "input gradient") -> Fault:
    """A fault in the backward pass that is written out in JAX."""
    change = Change(f"jax_impl/{FUSED}", old, new)
    return Fault(f"fused-{name}/jax", "layer", "jax", what, (change,), "GRU:fused", module, phase)


# Short rows are easier to scan.
# fmt: off
FORWARD = (
    *both_sides(
        "fused-lengths-one-too-long", "mask", "the first padded step counts as valid", FUSED,
        ("valid = (steps <= last)", "valid = (steps <= last + 1)"),
        ("[:, None] < lengths)", "[:, None] <= lengths)"), "GRU:fused",
    ),
    *both_sides(
        "fused-last-output-as-final-state", "layer", "the final state is that of the last step, padded or not", FUSED,
        ("_steps(read, last.clamp(min=0)).squeeze(1)", "read[:, -1]"),
        ("bias, given)", "bias, None)"), "DecoderAttn:fused", "rnn", divergence="D39",
    ),
    *both_sides(
        "fused-padding-has-outputs", "mask", "outputs after the end are not zero", FUSED,
        ("torch.where(valid, read, 0.0)", "read"), ("jnp.where(valid, each, 0.0)", "each"),
        "Encoder:fused", "rnn",
    ),
    *both_sides(
        "fused-second-direction-reads-forward", "layer", "the second direction reads from the start too", FUSED,
        ("_steps(inputs, mirrored) if reverse else inputs", "inputs"),
        ("_in_order(inputs @ cell.w_i + cell.b_i, d)", "inputs @ cell.w_i + cell.b_i"),
        "BidirectionalGRU:fused",
    ),
    *both_sides(
        "fused-second-direction-not-turned-back", "layer", "outputs of the second direction stay in reverse", FUSED,
        ("_steps(read, mirrored) if reverse else read", "read"), ("[_in_order(each, d) for", "[each for"),
        "Encoder:fused", "rnn",
    ),
    *both_sides(
        "fused-biases-swapped", "layer", "the biases of the input and of the state change places", FUSED,
        ("x.weight, h.weight, x.bias, h.bias", "x.weight, h.weight, h.bias, x.bias"),
        ("jnp.stack([cell.b_h for cell in cells])", "jnp.stack([cell.b_i for cell in cells])"),
        "GRU:fused",
    ),
    *both_sides(
        "fused-states-of-the-first-layer", "layer", "the second layer starts from the first layer's state", FUSED,
        ("in zip(layers, hidden_states.chunk(len(layers)), strict=True)",
         "in zip(layers, hidden_states.chunk(len(layers))[:1] * len(layers), strict=True)"),
        ("jnp.split(hidden_states, len(layers)), strict=True):\n        inputs, final = _layer(",
         "[jnp.split(hidden_states, len(layers))[0]] * len(layers), strict=True):\n        inputs, final = _layer("),
        "GRU:fused",
    ),
)

BACKWARD = (
    _backward("reset-gate-slope", "the slope of the reset gate lacks 1 - r",
              "slope_n * h_n * r * (1 - r)", "slope_n * h_n * r"),
    _backward("update-gate-slope", "the slope of the update gate lacks the old state",
              "(before - n) * z * (1 - z)", "-n * z * (1 - z)"),
    _backward("candidate-slope", "the slope of tanh is 1 - n",
              "slope_n = (1 - z) * (1 - n * n)", "slope_n = (1 - z) * (1 - n)"),
    _backward("state-not-kept", "no gradient flows through the part of the state that is kept",
              "dh * kept + _product", "_product"),
    _backward("gradient-of-padding", "padded steps have gradients",
              "jnp.where(valid, slopes, 0.0), jnp.where(valid, slope_n, 0.0)", "slopes, slope_n"),
    _backward("gates-of-the-state-after", "gates are computed again from the state after the step",
              "jnp.concatenate([first[None], each[:-1]]) for first", "each for first"),
    _backward("half-a-bias-gradient", "the gradient by the state's bias is half of what it should be",
              "d_bias = [at_least_float32(each).sum((0, 1)) for each in d_recurrent]",
              "d_bias = [at_least_float32(each).sum((0, 1)) / 2 for each in d_recurrent]",
              "cells.0.hidden_proj", "parameter gradient"),
    _backward("initial-state-gradient", "the gradient by the initial state is that by the first state",
              "return d_projected, dh0.astype(h.dtype)", "return d_projected, jnp.stack([each[0] for each in dh])"),
)
# fmt: on

FUSED_LAYERS = (*FORWARD, *BACKWARD)
