"""Faults in the GRU encoder, its decoder, and the models built from them."""

from crosscheck.faults.fault import alike, both_sides

ENCODER, DECODER = "layers/encoder.py", "layers/decoder.py"
MODEL, CLASSIFIER = "models/encoder_decoder.py", "models/review_classifiers.py"
STOP = "from jax.lax import stop_gradient\n\n        "

# Short rows are easier to scan.
# fmt: off
LAYERS = (
    *both_sides(
        "encoder-averages-directions", "layer", "the directions are averaged, not summed", ENCODER,
        *alike("return ahead + back,", "return (ahead + back) / 2,"), "Encoder",
    ),
    *both_sides(
        "encoder-splits-by-parity", "layer", "even features go to the forward direction, odd ones backward",
        ENCODER, ("x.chunk(2, dim=-1)", "(x[..., 0::2], x[..., 1::2])"),
        ("jnp.split(x, 2, axis=-1)", "(x[..., 0::2], x[..., 1::2])"), "EncoderDecoder", "encoder",
    ),
    *both_sides(
        "encoder-state-of-one-direction", "layer", "the encoder's state is only the forward direction's", ENCODER,
        *alike("h[0::2] + h[1::2]", "h[0::2]"), "Encoder",
    ),
    *both_sides(
        "encoder-states-by-halves", "layer", "states are summed as if grouped by direction", ENCODER,
        *alike("h[0::2] + h[1::2]", "h[: len(h) // 2] + h[len(h) // 2 :]"), "Encoder:two_layers", divergence="D17",
    ),
    *both_sides(
        "encoder-lengths-forgotten", "mask", "the encoder does not pass the lengths on", ENCODER,
        *alike("hidden_states, lengths)\n", "hidden_states)\n"), "ReviewClassifierGRU:encoder_only",
        "encoder_decoder.encoder", divergence="D39",
    ),
    *both_sides(
        "encoder-initial-state-forgotten", "layer", "the encoder starts from zeros whatever state it is given", ENCODER,
        *alike("(inputs)), hidden_states, lengths)", "(inputs)), None, lengths)"), "Encoder",
    ),
    *both_sides(
        "encoder-backward-outputs-detached", "layer", "no gradient flows into the summed backward outputs", ENCODER,
        ("return ahead + back,", "return ahead + back.detach(),"),
        ("return ahead + back,", f"{STOP}return ahead + stop_gradient(back),"), "Encoder", "", "input gradient",
    ),
    *both_sides(
        "decoder-mask-forgotten", "mask", "the decoder does not pass the mask to its attention", DECODER,
        *alike("(x, hidden_states, mask)", "(x, hidden_states)"), "EncoderDecoder", "decoder",
    ),
    *both_sides(
        "decoder-starts-from-zeros", "layer", "the decoder's GRU is not started from the encoder's state", DECODER,
        *alike("self.rnn(x, hidden_states, lengths)", "self.rnn(x, None, lengths)"), "DecoderAttn",
    ),
    *both_sides(
        "decoder-lengths-forgotten", "mask", "the decoder does not pass the lengths on", DECODER,
        *alike("self.rnn(x, hidden_states, lengths)", "self.rnn(x, hidden_states)"), "DecoderAttn:no_attention",
        divergence="D39",
    ),
    *both_sides(
        "decoder-attention-unused", "layer", "the decoder reads its inputs from before the attention", DECODER,
        *alike("x, _ = self.attention(", "_, _ = self.attention("), "EncoderDecoder", "decoder",
    ),
    *both_sides(
        "decoder-attention-residual", "layer", "the attended inputs are added to the inputs", DECODER,
        *alike("x, _ = self.attention(x, hidden_states, mask)", "x = x + self.attention(x, hidden_states, mask)[0]"),
        "DecoderAttn",
    ),
)

MODELS = (
    *both_sides(
        "pooled-at-last-position", "model", "the summary is the output at the last position, often padding", MODEL,
        *alike("x[:, 0]", "x[:, -1]"), "EncoderDecoder",
    ),
    *both_sides(
        "pooled-by-mean", "model", "the summary is the mean over all positions", MODEL,
        ("x[:, 0]", "x.mean(dim=1)"), ("x[:, 0]", "x.mean(axis=1)"),
        "ReviewClassifierGRU:encoder_only", "encoder_decoder",
    ),
    *both_sides(
        "model-lengths-kept-from-encoder", "mask", "the model passes the lengths only to its decoder", MODEL,
        *alike("self.encoder(inputs, None, lengths)", "self.encoder(inputs)"), "EncoderDecoder", divergence="D39",
    ),
    *both_sides(
        "classifier-mask-forgotten", "mask", "the classifier does not pass the mask on", CLASSIFIER,
        *alike("(inputs, mask, lengths)", "(inputs, None, lengths)"), "ReviewClassifierGRU",
    ),
    *both_sides(
        "classifier-reads-the-state", "model", "the classifier reads the last hidden state", CLASSIFIER,
        *alike("pooled, _ = self.encoder_decoder(inputs, mask, lengths)",
               "pooled = self.encoder_decoder(inputs, mask, lengths)[1][-1]"), "ReviewClassifierGRU:no_attention",
    ),
    *both_sides(
        "classifier-gives-probabilities", "model", "softmax is applied in the model and again in the loss", CLASSIFIER,
        ("return self.classifier(pooled)", "return self.classifier(pooled).softmax(dim=-1)"),
        ("return self.classifier(pooled)", "return nnx.softmax(self.classifier(pooled), axis=-1)"),
        "ReviewClassifierGRU:encoder_only",
    ),
    *both_sides(
        "classifier-drops-negative-features", "model", "the pooled vector goes through a ReLU first", CLASSIFIER,
        ("self.classifier(pooled)", "self.classifier(pooled.relu())"),
        ("self.classifier(pooled)", "self.classifier(nnx.relu(pooled))"), "ReviewClassifierGRU:encoder_only",
    ),
)
# fmt: on

ENCODER_DECODER = (*LAYERS, *MODELS)
