"""Faults in the GRU's layers: valid steps, assignment of states, and how two directions are joined."""

from crosscheck.faults.fault import alike, both_sides

GRU = "layers/gru.py"
BACKWARD = "\n            back, final_back = backward_cell.scan(inputs, "

# Short rows are easier to scan.
# fmt: off
LENGTHS = (
    *both_sides(
        "lengths-one-too-long", "mask", "the first padded step counts as valid", GRU,
        *alike("< lengths[:, None]", "<= lengths[:, None]"), "Encoder", "rnn",
    ),
    *both_sides(
        "lengths-ignored", "mask", "every step counts as valid", GRU,
        *alike("if lengths is None:", "if True:"), "ReviewClassifierGRU", "encoder_decoder.encoder.rnn",
        divergence="D39",
    ),
    *both_sides(
        "lengths-of-left-padding", "mask", "the padding is assumed to be at the start", GRU,
        *alike("< lengths[:, None]", ">= steps - lengths[:, None]"), "BidirectionalGRU",
    ),
    *both_sides(
        "lengths-sorted", "mask", "the lengths are sorted for packing but the examples are not", GRU,
        ("< lengths[:, None]", "< lengths.sort(descending=True).values[:, None]"),
        ("< lengths[:, None]", "< -jnp.sort(-lengths)[:, None]"), "GRU",
    ),
    *both_sides(
        "no-lengths-mean-no-steps", "mask", "without lengths no step counts as valid", GRU,
        ("torch.ones(batch_size, steps", "torch.zeros(batch_size, steps"),
        ("jnp.ones((batch_size, steps)", "jnp.zeros((batch_size, steps)"), "GRU", case="one_example",
    ),
)

LAYERS = (
    *both_sides(
        "gru-layers-share-first-state", "layer", "every layer starts from the first layer's state", GRU,
        ("hidden_states.unbind(0), strict=True", "[hidden_states[0]] * len(self.cells), strict=True"),
        ("hidden_states, strict=True", "[hidden_states[0]] * len(self.cells), strict=True"),
        "GRU:two_layers",
    ),
    *both_sides(
        "gru-final-states-reversed", "layer", "the last layer's final state comes first", GRU,
        *alike("finals.append(final)\n        return inputs", "finals.insert(0, final)\n        return inputs"),
        "GRU:two_layers", divergence="D17",
    ),
    *both_sides(
        "gru-last-output-as-final-state", "layer", "the final state is the output of the last step, padded or not", GRU,
        *alike("finals.append(final)", "finals.append(inputs[:, -1])"), "DecoderAttn", "rnn", divergence="D39",
    ),
    *both_sides(
        "gru-given-state-ignored", "layer", "the given initial state is not used", GRU,
        ("if hidden_states is None:\n            hidden_states = inputs.new_zeros(len", "if True:\n            "
         "hidden_states = inputs.new_zeros(len"),
        ("if hidden_states is None:\n            hidden_states = jnp.zeros((len", "if True:\n            "
         "hidden_states = jnp.zeros((len"),
        "DecoderAttn:no_attention", "rnn",
    ),
    *both_sides(
        "gru-starts-from-ones", "layer", "the default initial state is ones", GRU,
        ("inputs.new_zeros(len", "inputs.new_ones(len"), ("jnp.zeros((len", "jnp.ones((len"),
        "GRU", case="one_example", divergence="D43",
    ),
    *both_sides(
        "bigru-starts-from-ones", "layer", "the default initial state is ones, in both directions", GRU,
        ("inputs.new_zeros(2 *", "inputs.new_ones(2 *"), ("jnp.zeros((2 *", "jnp.ones((2 *"),
        "EncoderDecoder", "encoder.rnn", divergence="D43",
    ),
    *both_sides(
        "bigru-outputs-swapped", "layer", "outputs are stacked backward before forward", GRU,
        *alike("[ahead, back]", "[back, ahead]"), "BidirectionalGRU:two_layers",
    ),
    *both_sides(
        "bigru-final-states-swapped", "layer", "final states are stacked backward before forward", GRU,
        *alike("[final_ahead, final_back]", "[final_back, final_ahead]"), "BidirectionalGRU", divergence="D17",
    ),
    *both_sides(
        "bigru-states-by-direction", "layer", "initial states are read direction by direction, not layer by layer", GRU,
        *alike(
            f"states[2 * layer], valid){BACKWARD}states[2 * layer + 1]",
            f"states[layer], valid){BACKWARD}states[len(self.forward_cells) + layer]",
        ),
        "BidirectionalGRU:two_layers", divergence="D17",
    ),
    *both_sides(
        "bigru-one-initial-state", "layer", "the backward direction starts from the forward direction's state", GRU,
        *alike("states[2 * layer + 1]", "states[2 * layer]"), "Encoder", "rnn",
    ),
    *both_sides(
        "bigru-reads-padding-first", "mask", "the backward direction counts padding as valid", GRU,
        ("valid, reverse=True", "torch.ones_like(valid), reverse=True"),
        ("valid, reverse=True", "jnp.ones_like(valid), reverse=True"), "EncoderDecoder", "encoder.rnn",
        divergence="D39",
    ),
    *both_sides(
        "bigru-backward-outputs-detached", "layer", "no gradient flows into the backward outputs", GRU,
        ("[ahead, back]", "[ahead, back.detach()]"), ("[ahead, back]", "[ahead, jax.lax.stop_gradient(back)]"),
        "BidirectionalGRU", "", "input gradient",
    ),
)
# fmt: on

RECURRENT_LAYERS = (*LENGTHS, *LAYERS)
