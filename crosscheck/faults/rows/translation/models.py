"""Faults in the recurrent and one-headed encoders and decoders, and in what joins them."""

from crosscheck.faults.fault import Fault, alike, both_sides, both_sides_equal

RECURRENT, TRANSFORMER = "models/recurrent_translation.py", "models/transformer_translation.py"
ATTEND = "self.attention(hidden, annotations, annotations, source_mask)"
SCANNED = "self.cell.scan(x, hidden, every_step)"
ENCODED, DECODED = "self.positions(self.characters(source))", "self.positions(self.characters(targets))"
READ = "encoder_attention(x, annotations, annotations, source_mask)"
OF_ENCODER = "x = x + {}(feed_forward(x))\n        return x, None"
RELU = {"torch": "F.relu", "jax": "jax.nn.relu"}


# fmt: off
RECURRENT_DECODERS = (
    *both_sides(
        "context-of-the-letter", "model", "the letter attends to the source, not the state before it", RECURRENT,
        *alike(ATTEND, ATTEND.replace("(hidden", "(letter")), "RNNAttentionDecoder",
    ),
    *both_sides(
        "context-of-state-and-letter", "model", "the mean of the state and the letter attends to the source", RECURRENT,
        *alike(ATTEND, ATTEND.replace("(hidden", "(0.5 * (hidden + letter)")), "RNNAttentionDecoder:additive",
    ),
    *both_sides(
        "context-not-read", "model", "the cell reads no context", RECURRENT,
        *alike("[letter, context[:, 0]]", "[letter, 0 * context[:, 0]]"), "RNNAttentionDecoder",
    ),
    *both_sides(
        "context-before-the-letter", "model", "the cell reads [context; letter]", RECURRENT,
        *alike("[letter, context[:, 0]]", "[context[:, 0], letter]"), "RNNAttentionDecoder:additive",
    ),
    *both_sides(
        "context-over-padding", "mask", "the context holds the source's padding", RECURRENT,
        *alike(ATTEND, ATTEND.replace(", source_mask", "")), "RNNAttentionDecoder",
    ),
    *both_sides(
        "decoder-starts-at-zero", "model", "the decoder does not start at the encoder's state", RECURRENT,
        *alike(SCANNED, SCANNED.replace("hidden", "0 * hidden")), "RNNDecoder",
    ),
    *both_sides(
        "decoder-one-step-late", "model", "every step gives the logits of the step before", RECURRENT,
        ("return self.out(outputs), None", "return self.out(outputs.roll(1, 1)), None"),
        ("return self.out(outputs), None", "return self.out(jnp.roll(outputs, 1, 1)), None"), "RNNDecoder",
    ),
    *both_sides(
        "decoder-state-without-gradient", "model", "no gradient flows into the encoder's state", RECURRENT,
        (SCANNED, SCANNED.replace("hidden", "hidden.detach()")),
        (SCANNED, SCANNED.replace("hidden", "jax.lax.stop_gradient(hidden)")), "RNNDecoder", "", "input gradient",
    ),
    *both_sides(
        "source-mask-ignored", "mask", "the encoder reads padding like letters", RECURRENT,
        *alike("source_mask)\n\n\nclass RNNDecoder", "source_mask | True)\n\n\nclass RNNDecoder"), "GRUEncoder",
    ),
)

ENCODERS = (
    *both_sides(
        "source-without-positions", "position", "the encoder has no positions", TRANSFORMER,
        *alike(ENCODED, "self.characters(source)"), "TransformerEncoder",
    ),
    *both_sides(
        "source-reversed", "model", "the source is read from its end, padding first", TRANSFORMER,
        (ENCODED, ENCODED.replace("source", "source.flip(1)")), (ENCODED, ENCODED.replace("source", "source[:, ::-1]")),
        "TransformerEncoder",
    ),
    *both_sides(
        "source-attends-to-padding", "mask", "the encoder attends to padding", TRANSFORMER,
        *alike("attention(x, x, x, source_mask)", "attention(x, x, x)"), "TransformerEncoder",
    ),
    *both_sides(
        "source-residual-missing", "model", "the encoder's attention replaces its input", TRANSFORMER,
        *alike("x = x + attended", "x = attended"), "TransformerEncoder",
    ),
    *both_sides(
        "source-linear", "model", "the encoder's feed-forward layers have no ReLU", TRANSFORMER,
        *((OF_ENCODER.format(relu), OF_ENCODER.format("")) for relu in RELU.values()), "TransformerEncoder",
    ),
)

DECODERS = (
    *both_sides(
        "target-without-positions", "position", "the decoder has no positions", TRANSFORMER,
        *alike(DECODED, "self.characters(targets)"), "TransformerDecoder",
    ),
    *both_sides(
        "target-one-step-ahead", "model", "teacher forcing gives each step the letter that it must find", TRANSFORMER,
        (DECODED, DECODED.replace("targets", "targets.roll(-1, 1)")),
        (DECODED, DECODED.replace("targets", "jnp.roll(targets, -1, 1)").replace("jnp", "jax.numpy")),
        "TransformerDecoder",
    ),
    *both_sides(
        "target-reads-padding", "mask", "the decoder attends to the source's padding", TRANSFORMER,
        *alike(READ, READ.replace(", source_mask", "")), "TransformerDecoder",
    ),
    *both_sides(
        "target-residual-of-the-past-missing", "model", "attention over the past replaces its input", TRANSFORMER,
        *alike("x = x + seen", "x = seen"), "TransformerDecoder",
    ),
    *both_sides(
        "target-residual-of-the-source-missing", "model", "attention over the source replaces its input", TRANSFORMER,
        *alike("x = x + context", "x = context"), "TransformerDecoder",
    ),
    *both_sides(
        "joined-without-positions", "position", "the decoder alone has no positions", TRANSFORMER,
        *alike("self.positions(self.characters(ids))", "self.characters(ids)"), "DecoderOnlyTranslator",
    ),
    *both_sides(
        "joined-linear", "model", "the decoder alone has no ReLU", TRANSFORMER,
        ("F.relu(linear(x))", "linear(x)"), ("jax.nn.relu(linear(x))", "linear(x)"), "DecoderOnlyTranslator",
    ),
    *both_sides(
        "joined-residual-missing", "model", "attention replaces its input in the decoder alone", TRANSFORMER,
        *alike("x = x + past", "x = past"), "DecoderOnlyTranslator",
    ),
)

EQUIVALENTS_MODELS = (
    *both_sides_equal(
        "joined-past-first", "the past comes first in the sum", TRANSFORMER,
        *alike("x = x + past", "x = past + x"), "DecoderOnlyTranslator", dtype="float32",
    ),
)
# fmt: on

MODELS: tuple[Fault, ...] = (*RECURRENT_DECODERS, *ENCODERS, *DECODERS)
