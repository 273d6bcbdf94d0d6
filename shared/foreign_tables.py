"""The correspondence between blocks of other libraries' arrays and of ours: one table per foreign layout."""

from typing import NamedTuple

Block = tuple[int, int]  # (which, of how many equal parts along the first axis)
WHOLE = (0, 1)
BOTH_WAYS = "(bidirectional=True)"
KINDS = ("GRU", "LSTM", "RNN")


class Row(NamedTuple):
    """`{}` stands for the layer; all lists of layers of one module are equally long, across modules they may differ.

    A transposed array is transposed before its block is cut, so that blocks always lie along outputs.

    No foreign name: the layout has no place for the block, which must then be zero.

    `merged_into` names the array whose corresponding block the layout holds instead: only their sum matters.
    """

    foreign: str | None
    canonical: str
    foreign_block: Block = WHOLE
    canonical_block: Block = WHOLE
    transposed: bool = False
    merged_into: str | None = None


def _torch_layers(cells: str, suffix: str) -> tuple[Row, ...]:
    sides = {"ih": "input_proj", "hh": "hidden_proj"}
    return tuple(
        Row(f"{kind}_{side}_l{{}}{suffix}", f"{cells}.{{}}.{ours}.{kind}")
        for kind in ("weight", "bias")
        for side, ours in sides.items()
    )


def _torch_cell() -> tuple[Row, ...]:
    sides = {"ih": "input_proj", "hh": "hidden_proj"}
    return tuple(Row(f"{kind}_{side}", f"{sides[side]}.{kind}") for kind in ("weight", "bias") for side in sides)


def _torch_attention(their: str = "", ours: str = "") -> tuple[Row, ...]:
    stacked = (
        Row(f"{their}in_proj_{kind}", f"{ours}{proj}.{kind}", foreign_block=(part, 3))
        for kind in ("weight", "bias")
        for part, proj in enumerate(("q_proj", "k_proj", "v_proj"))
    )
    return (*stacked, *_alike(f"{their}out_proj", f"{ours}out_proj"))


def _alike(their: str, ours: str) -> tuple[Row, ...]:
    return tuple(Row(f"{their}.{kind}", f"{ours}.{kind}") for kind in ("weight", "bias"))


def _torch_transformer() -> tuple[Row, ...]:
    attentions = {  # stack: {their name: (ours, the norm after it)}
        "encoder": {"self_attn": ("self_attentions", "norms")},
        "decoder": {
            "self_attn": ("self_attentions", "self_norms"),
            "multihead_attn": ("cross_attentions", "cross_norms"),
        },
    }
    rows: list[Row] = []
    for stack, named in attentions.items():
        layer, fed = f"{stack}.layers.{{}}.", f"{stack}.feed_forwards.{{}}."
        for number, (their, (ours, norms)) in enumerate(named.items(), start=1):
            rows += _torch_attention(f"{layer}{their}.", f"{stack}.{ours}.{{}}.")
            rows += _alike(f"{layer}norm{number}", f"{stack}.{norms}.{{}}")
        rows += _alike(f"{layer}linear1", f"{fed}in_proj") + _alike(f"{layer}linear2", f"{fed}out_proj")
        rows += _alike(f"{layer}norm{len(named) + 1}", f"{fed}norm") + _alike(f"{stack}.norm", f"{stack}.last_norm")
    return tuple(rows)


def _gpt2(prefix: str) -> tuple[Row, ...]:
    """Conv1D layers hold (in, out); c_attn holds queries, keys and values side by side."""
    layer, ours = f"{prefix}h.{{}}.", "blocks.{}."
    names = {"attn.c_proj": "causal_attention.out_proj", "mlp.c_fc": "feed_forward.in_proj"}
    names |= {"mlp.c_proj": "feed_forward.out_proj"}
    norms = {"ln_1": "attention_norm", "ln_2": "feed_forward_norm"}
    return (
        Row(f"{prefix}wte.weight", "token_embedding.weight"),
        Row(f"{prefix}wpe.weight", "position_embedding.weight"),
        *(
            Row(
                f"{layer}attn.c_attn.{kind}",
                f"{ours}causal_attention.{proj}.{kind}",
                foreign_block=(part, 3),
                transposed=kind == "weight",
            )
            for kind in ("weight", "bias")
            for part, proj in enumerate(("q_proj", "k_proj", "v_proj"))
        ),
        *(
            Row(f"{layer}{their}.{kind}", f"{ours}{our}.{kind}", transposed=kind == "weight")
            for their, our in names.items()
            for kind in ("weight", "bias")
        ),
        *(Row(f"{layer}{t}.{kind}", f"{ours}{o}.{kind}") for t, o in norms.items() for kind in ("weight", "bias")),
        *(Row(f"{prefix}ln_f.{kind}", f"norm.{kind}") for kind in ("weight", "bias")),
    )


def _linen_gru_cell() -> tuple[Row, ...]:
    gates = tuple(enumerate(("r", "z", "n")))
    kernels = (
        Row(f"{side}{gate}/kernel", f"{proj}.weight", canonical_block=(part, 3), transposed=True)
        for side, proj in (("i", "input_proj"), ("h", "hidden_proj"))
        for part, gate in gates
    )
    biases = (Row(f"i{gate}/bias", "input_proj.bias", canonical_block=(part, 3)) for part, gate in gates)
    no_biases = (
        Row(None, "hidden_proj.bias", canonical_block=(part, 3), merged_into="input_proj.bias") for part in (0, 1)
    )
    return (*kernels, *biases, Row("hn/bias", "hidden_proj.bias", canonical_block=(2, 3)), *no_biases)


def _flax_lstm_cell(forget: str) -> tuple[Row, ...]:
    rows = []
    for part, gate in enumerate("ifgo"):
        block = (part, 4)
        own_input = f"i{forget if gate == 'f' else gate}/kernel"
        rows += [
            Row(own_input, "input_proj.weight", canonical_block=block, transposed=True),
            Row(f"h{gate}/kernel", "hidden_proj.weight", canonical_block=block, transposed=True),
            Row(f"h{gate}/bias", "hidden_proj.bias", canonical_block=block),
            Row(None, "input_proj.bias", canonical_block=block, merged_into="hidden_proj.bias"),
        ]
    return tuple(rows)


def _flax_simple_cell(of_input: str, of_hidden: str) -> tuple[Row, ...]:
    return (
        Row(f"{of_input}/kernel", "input_proj.weight", transposed=True),
        Row(f"{of_hidden}/kernel", "hidden_proj.weight", transposed=True),
        Row(f"{of_input}/bias", "input_proj.bias"),
        Row(None, "hidden_proj.bias", merged_into="input_proj.bias"),
    )


_OPTIMIZED_LSTM_CELL = (
    Row("dense_i/kernel", "input_proj.weight", transposed=True),
    Row("dense_h/kernel", "hidden_proj.weight", transposed=True),
    Row("dense_h/bias", "hidden_proj.bias"),
    Row(None, "input_proj.bias", merged_into="hidden_proj.bias"),
)


LAYOUTS: dict[str, tuple[Row, ...]] = {
    **{f"torch.nn.{kind}": _torch_layers("cells", "") for kind in KINDS},
    **{
        f"torch.nn.{kind}{BOTH_WAYS}": (
            *_torch_layers("forward_cells", ""),
            *_torch_layers("backward_cells", "_reverse"),
        )
        for kind in KINDS
    },
    **{f"torch.nn.{kind}Cell": _torch_cell() for kind in KINDS},
    "torch.nn.MultiheadAttention": _torch_attention(),
    "torch.nn.Transformer": _torch_transformer(),
    "transformers.GPT2Model": _gpt2(""),
    "transformers.GPT2LMHeadModel": _gpt2("transformer."),
    "transformers.GPT2LMHeadModel(tie_word_embeddings=False)": (
        *_gpt2("transformer."),
        Row("lm_head.weight", "lm_head.weight"),
    ),
    "flax.linen.GRUCell": _linen_gru_cell(),
    "flax.linen.SimpleCell": _flax_simple_cell("i", "h"),
    "flax.nnx.SimpleCell": _flax_simple_cell("dense_i", "dense_h"),
    "flax.linen.LSTMCell": _flax_lstm_cell("f"),
    "flax.nnx.LSTMCell": _flax_lstm_cell("f_"),
    "flax.nnx.OptimizedLSTMCell": _OPTIMIZED_LSTM_CELL,
}

REFUSED: dict[str, str] = {
    "flax.nnx.GRUCell": "it has no bias b_hn inside the reset gate's product, so its candidate differs from our GRU's "
    "and from torch.nn.GRU's: use the GRUCell of jax_impl",
}
