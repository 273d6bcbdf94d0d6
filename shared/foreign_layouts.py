"""Foreign layouts: how other libraries name, stack and turn the weights of our layers, as tables that read both ways.

A row says that one block of a foreign array is one block of a canonical array, so a table only renames, slices and
transposes, and its inverse is free. What a layout can't hold is refused with the reason, never approximated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from shared.configs.validation import check_choice
from shared.errors import IsogradError, WeightsError

Block = tuple[int, int]  # (which, of how many equal parts along the first axis)
Arrays = dict[str, np.ndarray]
WHOLE = (0, 1)


@dataclass(frozen=True)
class Row:
    """`{}` stands for the layer. No foreign name: the layout has no place for the block, which must then be zero.

    `merged_into` names the array whose same block the layout holds in its stead: only their sum matters.
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


def _torch_attention() -> tuple[Row, ...]:
    stacked = (
        Row(f"in_proj_{kind}", f"{proj}.{kind}", foreign_block=(part, 3))
        for kind in ("weight", "bias")
        for part, proj in enumerate(("q_proj", "k_proj", "v_proj"))
    )
    return (*stacked, Row("out_proj.weight", "out_proj.weight"), Row("out_proj.bias", "out_proj.bias"))


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


_OPTIMIZED_LSTM_CELL = (
    Row("dense_i/kernel", "input_proj.weight", transposed=True),
    Row("dense_h/kernel", "hidden_proj.weight", transposed=True),
    Row("dense_h/bias", "hidden_proj.bias"),
    Row(None, "input_proj.bias", merged_into="hidden_proj.bias"),
)


LAYOUTS: dict[str, tuple[Row, ...]] = {
    "torch.nn.GRU": _torch_layers("cells", ""),
    "torch.nn.GRU(bidirectional=True)": (
        *_torch_layers("forward_cells", ""),
        *_torch_layers("backward_cells", "_reverse"),
    ),
    "torch.nn.GRUCell": _torch_cell(),
    "torch.nn.LSTM": _torch_layers("cells", ""),
    "torch.nn.LSTM(bidirectional=True)": (
        *_torch_layers("forward_cells", ""),
        *_torch_layers("backward_cells", "_reverse"),
    ),
    "torch.nn.LSTMCell": _torch_cell(),
    "torch.nn.MultiheadAttention": _torch_attention(),
    "flax.linen.GRUCell": _linen_gru_cell(),
    "flax.linen.LSTMCell": _flax_lstm_cell("f"),
    "flax.nnx.LSTMCell": _flax_lstm_cell("f_"),
    "flax.nnx.OptimizedLSTMCell": _OPTIMIZED_LSTM_CELL,
}

REFUSED: dict[str, str] = {
    "flax.nnx.GRUCell": "it has no bias b_hn inside the reset gate's product, so its candidate differs from our GRU's "
    "and from torch.nn.GRU's: use the GRUCell of jax_impl",
}


def from_foreign(layout: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Canonical arrays of foreign ones (names of nested trees joined by "/"); refused layouts raise IsogradError.

    Raises one WeightsError that lists every missing and unused name.
    """
    rows = _rows(layout, arrays, foreign=True)
    _check_names(layout, [row.foreign for row in rows if row.foreign], arrays)
    blocks: dict[str, dict[Block, np.ndarray]] = {}
    for row in rows:
        if row.foreign is not None:
            piece = _cut(layout, row.foreign, arrays[row.foreign], row.foreign_block)
            blocks.setdefault(row.canonical, {})[row.canonical_block] = piece.T if row.transposed else piece
    for row in rows:
        if row.foreign is None:  # the layout's missing bias is zero
            like = blocks[str(row.merged_into)][row.canonical_block]
            blocks.setdefault(row.canonical, {})[row.canonical_block] = np.zeros_like(like)
    return _joined(layout, blocks)


def to_foreign(layout: str, canonical: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of `from_foreign`; raises IsogradError where the layout can't hold the numbers."""
    rows = _rows(layout, canonical, foreign=False)
    _check_names(layout, [row.canonical for row in rows], canonical)
    blocks: dict[str, dict[Block, np.ndarray]] = {}
    for row in rows:
        piece = _cut(layout, row.canonical, canonical[row.canonical], row.canonical_block)
        if row.foreign is not None:
            blocks.setdefault(row.foreign, {})[row.foreign_block] = piece.T if row.transposed else piece
        elif any(piece.tobytes()):
            raise IsogradError(
                f"{layout} can't hold these weights: it has no place for part {row.canonical_block[0] + 1} of "
                f"{row.canonical_block[1]} of {row.canonical}, which must be zero, and is not"
            )
    return _joined(layout, blocks)


def _rows(layout: str, arrays: Mapping[str, np.ndarray], foreign: bool) -> list[Row]:
    """The table with its layers written out, as many as the arrays have."""
    if layout in REFUSED:
        raise IsogradError(f"{layout} can't be converted: {REFUSED[layout]}")
    check_choice("layout", layout, [*LAYOUTS, *REFUSED])
    table = LAYOUTS[layout]
    first = str(table[0].foreign if foreign else table[0].canonical)
    layers = 1
    while "{}" in first and first.format(layers) in arrays:
        layers += 1
    return [
        replace(
            row,
            foreign=None if row.foreign is None else row.foreign.format(layer),
            canonical=row.canonical.format(layer),
        )
        for layer in range(layers)
        for row in table
    ]


def _check_names(layout: str, expected: list[str], arrays: Mapping[str, np.ndarray]) -> None:
    missing = [name for name in dict.fromkeys(expected) if name not in arrays]
    unused = [name for name in arrays if name not in expected]
    if missing or unused:
        raise WeightsError(
            f"weights do not fit the layout {layout}: missing {', '.join(missing) or 'none'}; "
            f"unused {', '.join(unused) or 'none'}"
        )


def _cut(layout: str, name: str, array: np.ndarray, block: Block) -> np.ndarray:
    which, parts = block
    if parts > 1 and (array.ndim == 0 or array.shape[0] % parts):
        raise WeightsError(
            f"weights do not fit the layout {layout}: expected the first axis of {name} to be a multiple of {parts}, "
            f"got shape {array.shape}"
        )
    return array if block == WHOLE else array[which * len(array) // parts : (which + 1) * len(array) // parts]


def _joined(layout: str, blocks: Mapping[str, Mapping[Block, np.ndarray]]) -> Arrays:
    joined = {}
    for name, pieces in blocks.items():
        parts = [pieces[block] for block in sorted(pieces)]
        kinds = {(part.dtype, part.shape) for part in parts}
        if len(kinds) > 1:
            described = ", ".join(f"{dtype} {shape}" for dtype, shape in sorted(kinds, key=str))
            raise WeightsError(
                f"weights do not fit the layout {layout}: the parts of {name} differ in shape or dtype, got {described}"
            )
        joined[name] = np.array(parts[0] if len(parts) == 1 else np.concatenate(parts), order="C")
    return joined
