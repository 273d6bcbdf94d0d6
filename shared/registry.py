"""Every twin once, as data: where it lives, how it is built, and example inputs with every axis of a different size."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.configs.validation import check_choice

Inputs = dict[str, np.ndarray]

VOCABULARY, LENGTH, CLASSES = 37, 13, 2  # no two axes alike, so that a transposed square can't hide
INPUT, HIDDEN, HEADS, HEAD = 5, 17, 3, 7
WIDTH, MLP_WIDTH = HEADS * HEAD, 19
BATCH, STEPS = 3, 11


@dataclass(frozen=True)
class Twin:
    """A pair of classes or functions of one name; `name` may carry a variant after a colon.

    `arguments` build a class, or are bound to a function; `inputs(generator, batch, steps)` makes the arrays of one call,
    of which those named in `optional` may be left out.
    """

    name: str
    module: str
    inputs: Callable[[np.random.Generator, int, int], Inputs]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    function: bool = False
    large_mean: bool = False  # also checked on inputs of mean 5000

    @property
    def public_name(self) -> str:
        return self.name.split(":")[0]


def example_inputs(twin: Twin, case: str = "odd_sizes", seed: int = 0) -> Inputs:
    """The seeded inputs of one of `cases(twin)`: floats in float64, ids in int64, masks in bool.

    One step has T = 1; one example has B = 1 and nothing that may be left out.
    """
    generator = np.random.default_rng(seed)
    batch = 1 if case == "one_example" else BATCH
    inputs = twin.inputs(generator, batch, 1 if case == "one_step" else STEPS)
    return CASES[case](twin, inputs)


def cases(twin: Twin) -> list[str]:
    """The names of the cases that mean something for a twin; a variant shares all but its own branch with the twin."""
    if twin.name != twin.public_name:
        return ["odd_sizes"]
    names = twin.inputs(np.random.default_rng(0), BATCH, STEPS)
    applies = {
        "one_step": bool(names),
        "one_example": bool(names),
        "masked_row": "mask" in names,
        "mean_5000": twin.large_mean,
    }
    return ["odd_sizes", *(case for case, does in applies.items() if does)]


def _as_they_are(twin: Twin, inputs: Inputs) -> Inputs:
    return inputs


def _masked_row(twin: Twin, inputs: Inputs) -> Inputs:
    inputs["mask"][0] = False  # one example is padding throughout
    return inputs


def _required_only(twin: Twin, inputs: Inputs) -> Inputs:
    return {name: array for name, array in inputs.items() if name not in twin.optional}


def _mean_5000(twin: Twin, inputs: Inputs) -> Inputs:
    return {name: array + 5000.0 for name, array in inputs.items()}


CASES: dict[str, Callable[[Twin, Inputs], Inputs]] = {
    "odd_sizes": _as_they_are,
    "one_step": _as_they_are,
    "one_example": _required_only,
    "masked_row": _masked_row,
    "mean_5000": _mean_5000,
}


def _floats(*names: str, shape: Callable[[int, int], tuple[int, ...]]) -> Callable[..., Inputs]:
    return lambda generator, batch, steps: {name: generator.standard_normal(shape(batch, steps)) for name in names}


def _padding_mask(generator: np.random.Generator, batch: int, steps: int) -> np.ndarray:
    lengths = generator.integers(1, steps + 1, batch)
    lengths[-1] = steps
    return np.arange(steps) < lengths[:, None]


def _ids(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
    mask = _padding_mask(generator, batch, steps)
    return {"inputs": np.where(mask, generator.integers(1, VOCABULARY, mask.shape), 0), "mask": mask}


def _ids_with_lengths(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
    inputs = _ids(generator, batch, steps)
    return {**inputs, "lengths": inputs["mask"].sum(axis=1)}


def _sequence(states: int, width: int = INPUT, mask: bool = False) -> Callable[..., Inputs]:
    def make(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
        tokens = _padding_mask(generator, batch, steps)
        return {
            "inputs": generator.standard_normal((batch, steps, width)),
            "hidden_states": generator.standard_normal((states, batch, HIDDEN)),
            **({"mask": tokens} if mask else {}),
            "lengths": tokens.sum(axis=1),
        }

    return make


def _without(name: str, make: Callable[..., Inputs]) -> Callable[..., Inputs]:
    return lambda *sizes: {key: array for key, array in make(*sizes).items() if key != name}


def _encoder(layers: int) -> Callable[..., Inputs]:
    def make(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
        ids = _ids_with_lengths(generator, batch, steps)
        states = generator.standard_normal((2 * layers, batch, HIDDEN))
        return {"inputs": ids["inputs"], "hidden_states": states, "lengths": ids["lengths"]}

    return make


def _masked_floats(name: str, width: int) -> Callable[..., Inputs]:
    def make(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
        mask = _padding_mask(generator, batch, steps)
        return {name: generator.standard_normal((batch, steps, width)), "mask": mask}

    return make


def _scores_and_mask(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
    scores = generator.standard_normal((batch, steps))
    return {"scores": scores, "mask": _padding_mask(generator, batch, steps)}


def _causal_mask_and_scores(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
    return {"mask": np.tri(steps, dtype=bool), "A": generator.standard_normal((batch, steps, steps))}


def _attention_and_values(generator: np.random.Generator, batch: int, steps: int) -> Inputs:
    weights = generator.standard_normal((batch, steps, STEPS + 2))
    return {"A": weights, "V": generator.standard_normal((batch, STEPS + 2, WIDTH))}


_GRU_SIZES = {"vocabulary_size": VOCABULARY, "embedding_size": INPUT, "hidden_size": HIDDEN, "dropout": 0.3}
_TRANSFORMER_SIZES = {
    "vocabulary_size": VOCABULARY,
    "sequence_length": LENGTH,
    "embed_dim": WIDTH,
    "hidden_dim": MLP_WIDTH,
    "num_heads": HEADS,
    "dropout": 0.3,
}
_BLOCK_SIZES = {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "num_heads": HEADS, "dropout": 0.3}
_STATE_AND_LENGTHS = ("hidden_states", "lengths")
_MASK_AND_LENGTHS = ("mask", "lengths")
_THREE_WIDE = _floats("Q", "K", "V", shape=lambda batch, steps: (batch, steps, WIDTH))
_WIDE = _floats("x", shape=lambda batch, steps: (batch, steps, WIDTH))
_SCORES = _floats("A", shape=lambda batch, steps: (batch, steps, STEPS + 2))

_ALL = (
    Twin(
        "Linear",
        "layers.linear",
        _floats("inputs", shape=lambda b, t: (b, t, INPUT)),
        {"in_features": INPUT, "out_features": WIDTH},
    ),
    Twin(
        "Embedding",
        "layers.embedding",
        lambda *sizes: {"ids": _ids(*sizes)["inputs"]},
        {"vocabulary_size": VOCABULARY, "embedding_size": INPUT, "padding_idx": 0},
    ),
    Twin(
        "LayerNorm",
        "layers.layer_norm",
        _floats("inputs", shape=lambda b, t: (b, t, HIDDEN)),
        {"hidden_size": HIDDEN},
        large_mean=True,
    ),
    Twin("LearnedPositions", "layers.positions", _WIDE, {"sequence_length": LENGTH, "embed_dim": WIDTH}),
    Twin(
        "GRUCell",
        "layers.gru",
        lambda g, b, t: {"x": g.standard_normal((b, INPUT)), "h": g.standard_normal((b, HIDDEN))},
        {"input_size": INPUT, "hidden_size": HIDDEN},
    ),
    Twin("GRU", "layers.gru", _sequence(1), {"input_size": INPUT, "hidden_size": HIDDEN}, _STATE_AND_LENGTHS),
    Twin(
        "GRU:two_layers",
        "layers.gru",
        _sequence(2),
        {"input_size": INPUT, "hidden_size": HIDDEN, "num_layers": 2},
        _STATE_AND_LENGTHS,
    ),
    Twin(
        "BidirectionalGRU", "layers.gru", _sequence(2), {"input_size": INPUT, "hidden_size": HIDDEN}, _STATE_AND_LENGTHS
    ),
    Twin(
        "BidirectionalGRU:two_layers",
        "layers.gru",
        _sequence(4),
        {"input_size": INPUT, "hidden_size": HIDDEN, "num_layers": 2},
        _STATE_AND_LENGTHS,
    ),
    Twin(
        "Attn",
        "layers.soft_attention",
        _without("lengths", _sequence(2, HIDDEN, mask=True)),
        {"hidden_size": HIDDEN, "dropout": 0.3},
        ("mask",),
    ),
    Twin(
        "Attn:context",
        "layers.soft_attention",
        _without("lengths", _sequence(2, HIDDEN, mask=True)),
        {"hidden_size": HIDDEN, "pooling": "context"},
        ("mask",),
    ),
    Twin("Encoder", "layers.encoder", _encoder(1), _GRU_SIZES, _STATE_AND_LENGTHS),
    Twin("Encoder:two_layers", "layers.encoder", _encoder(2), {**_GRU_SIZES, "num_layers": 2}, _STATE_AND_LENGTHS),
    Twin("DecoderAttn", "layers.decoder", _sequence(1, HIDDEN, mask=True), _GRU_SIZES, _MASK_AND_LENGTHS),
    Twin(
        "DecoderAttn:no_attention",
        "layers.decoder",
        _sequence(1, HIDDEN, mask=True),
        {**_GRU_SIZES, "with_attention": False},
        _MASK_AND_LENGTHS,
    ),
    Twin(
        "MultiHeadedAttention",
        "layers.multi_headed_attention",
        _masked_floats("hidden_states", WIDTH),
        {"head_size": HEAD, "num_heads": HEADS},
        ("mask",),
    ),
    Twin("MLP", "layers.attention_blocks", _WIDE, {"embed_dim": WIDTH, "hidden_dim": MLP_WIDTH, "dropout": 0.3}),
    Twin("PreNormAttentionBlock", "layers.attention_blocks", _masked_floats("x", WIDTH), _BLOCK_SIZES, ("mask",)),
    Twin("PostNormAttentionBlock", "layers.attention_blocks", _masked_floats("x", WIDTH), _BLOCK_SIZES, ("mask",)),
    Twin("EncoderDecoder", "models.encoder_decoder", _ids_with_lengths, _GRU_SIZES, _MASK_AND_LENGTHS),
    Twin("Transformer", "models.transformer", _ids, _TRANSFORMER_SIZES, ("mask",)),
    Twin("Transformer:postnorm", "models.transformer", _ids, {**_TRANSFORMER_SIZES, "block": "postnorm"}, ("mask",)),
    Twin("ReviewClassifierGRU", "models.review_classifiers", _ids_with_lengths, _GRU_SIZES, _MASK_AND_LENGTHS),
    Twin(
        "ReviewClassifierGRU:encoder_only",
        "models.review_classifiers",
        _ids_with_lengths,
        {**_GRU_SIZES, "encoder_only": True},
        _MASK_AND_LENGTHS,
    ),
    Twin(
        "ReviewClassifierGRU:no_attention",
        "models.review_classifiers",
        _ids_with_lengths,
        {**_GRU_SIZES, "with_attention": False, "num_layers": 2},
        _MASK_AND_LENGTHS,
    ),
    Twin("ReviewClassifierTransformer", "models.review_classifiers", _ids, _TRANSFORMER_SIZES, ("mask",)),
    Twin(
        "ReviewClassifierTransformer:postnorm",
        "models.review_classifiers",
        _ids,
        {**_TRANSFORMER_SIZES, "block": "postnorm"},
        ("mask",),
    ),
    Twin(
        "pairwise_similarities",
        "layers.attention",
        lambda g, b, t: {"Q": g.standard_normal((b, t, WIDTH)), "K": g.standard_normal((b, STEPS + 2, WIDTH))},
        function=True,
    ),
    Twin("attn_scaled", "layers.attention", _SCORES, {"n_embd": WIDTH, "n_heads": HEADS}, function=True),
    Twin("attn_softmax", "layers.attention", _SCORES, function=True),
    Twin("compute_outputs", "layers.attention", _attention_and_values, function=True),
    Twin("make_causal_mask", "layers.attention", lambda g, b, t: {}, {"n_tok": STEPS}, function=True),
    Twin("apply_causal_mask", "layers.attention", _causal_mask_and_scores, function=True),
    Twin("masked_softmax", "layers.attention", _scores_and_mask, {"axis": 1}, function=True),
    Twin("split_heads", "layers.attention", _WIDE, {"n_heads": HEADS}, function=True),
    Twin("merge_heads", "layers.attention", _floats("y", shape=lambda b, t: (b, HEADS, t, HEAD)), function=True),
    Twin("split_heads_qkv", "layers.attention", _THREE_WIDE, {"n_heads": HEADS}, function=True),
    Twin("self_attention", "layers.attention", _THREE_WIDE, {"n_heads": HEADS, "causal": True}, function=True),
    Twin("self_attention:not_causal", "layers.attention", _THREE_WIDE, {"n_heads": 1, "causal": False}, function=True),
)

TWINS: dict[str, Twin] = {twin.name: twin for twin in _ALL}


def find_twin(name: str) -> Twin:
    """The twin of a name; raises IsogradError with the nearest names if there is none."""
    check_choice("twin", name, TWINS)
    return TWINS[name]
