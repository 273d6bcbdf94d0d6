"""What the time of a GRU layer on a GPU goes to: its kernels are timed alone, and with parts of them left out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from experiments.bench.gru import BASE, CENTRE, OURS, Layer, as_graph, block_of, torch_sides
from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of
from shared.cuda import gru_clusters
from shared.cuda.nvrtc import compiler
from shared.errors import IsogradError

LAYERS = (
    CENTRE,
    CENTRE._replace(hidden_size=256),
    CENTRE._replace(hidden_size=256, directions=2),
    CENTRE._replace(batch_size=512, directions=2),
)
NEVER = "if (directions > 2) "  # which no compiler knows
# Of the kernels of clusters; each text occurs once.
PRODUCTS = tuple(
    (loop, f"{NEVER}\n{loop}")
    for loop in (
        "#pragma unroll\n      for (int piece = 0; piece < PIECES; piece++) {\n        const uint4 states_of_16",
        "#pragma unroll\n        for (int piece = 0; piece < PIECES; piece++) {\n          const uint4 gates_of_16",
        "#pragma unroll\n      for (int slice = 0; slice < SHARED_SLICES; slice++)",
        "#pragma unroll\n      for (int slice = 0; slice < HELD; slice++) multiply_rows",
        "#pragma unroll\n        for (int slice = 0; slice < SHARED_SLICES; slice++)",
        "#pragma unroll\n        for (int slice = 0; slice < HELD; slice++) multiply_rows",
    )
)
SWAPPING = (
    ("if (step > from) wait(barriers + now * 8, (step + number - 1) / 2 % 2);", ""),
    ("      wait(barriers + now * 8, parity_of(message));\n", ""),
    ("if (step + 1 < to) {\n        const u32 barrier", f"{NEVER}{{\n        const u32 barrier"),
    ("if (warp == SENDER && step + 1 < to)", f"{NEVER}if (warp == SENDER && step + 1 < to)"),
    ("if (step + 1 < to) made_by", f"{NEVER}made_by"),
    ("      wait(barriers + sums % 2 * 8, sums / 2 % 2);\n", ""),
    ("send(places[part]", f"{NEVER}send(places[part]"),
    ("if (step > stretch.from) wait(", f"{NEVER}wait("),
    ("      wait(barriers + (last - TURNS) % BUFFERS * 8, parity_of(last - TURNS));\n", ""),
    ("while (!is_there(barriers + (message - 1) % BUFFERS * 8, parity_of(message - 1))) {}", "{}"),
    ("send(in_block(there", f"{NEVER}send(in_block(there"),
)
READING = (
    ("if (step + 1 < to) load(step + 1);\n      const", f"{NEVER}load(step + 1);\n      const"),
    ("if (step + 1 < to) load(step + 1);\n#pragma", f"{NEVER}load(step + 1);\n#pragma"),
    ("for (int of = 0; i < live && of < 3; of++)", f"{NEVER}for (int of = 0; of < 3; of++)"),
    ("if (of < live)\n", f"{NEVER}\n"),
)
WRITING = (
    ("*(u32*)(outputs + at + pair", f"{NEVER}*(u32*)(outputs + at + pair"),
    ("*(u32*)(before + at + pair", f"{NEVER}*(u32*)(before + at + pair"),
    ("*(uint4*)(gates + (at", f"{NEVER}*(uint4*)(gates + (at"),
    ("if (i >= live) continue;", "if (directions <= 2) continue;"),
    *(
        (f"if (is_live && gate != {gate}) *({kind}*)", f"{NEVER}if (gate != {gate}) *({kind}*)")
        for kind in ("Owned", "u32")
        for gate in (2, 3)
    ),
)
LEFT_OUT = {
    "the kernels alone": (),
    "without products": PRODUCTS,
    "without swapping": SWAPPING,
    "without both": PRODUCTS + SWAPPING,
    "without reading": READING,
    "without writing": WRITING,
}


def bench_gru_parts(options: Options) -> Iterator[Row]:
    """Rows of each layer with gradients; what is computed with parts left out is wrong.

    Raises IsogradError where layers do not run as clusters.
    """
    if options.device != "cuda" or options.dtype not in gru_clusters.DTYPES or compiler() is None:
        raise IsogradError("isograd bench gru-parts needs NVRTC, --device cuda and --dtype bfloat16")
    base = BASE[options.device]
    for layer in LAYERS:
        sides = torch_sides(layer, ("both",), (OURS[0], base), options)
        blocks = {name: block_of(side.ways["both"], side.wait) for name, side in sides.items()}
        for name, changes in LEFT_OUT.items():
            blocks[name] = block_of(_kernels(layer, changes, options), sides[base].wait)
        for row in rows_of(in_turn(blocks, options.rounds), base):
            yield {"case": f"{layer}, {options.dtype}", **row}


def _kernels(layer: Layer, changes: Sequence[tuple[str, str]], options: Options) -> Callable[[], Any]:
    """Launch the two kernels of a layer, from a changed source."""
    import torch

    from torch_impl.layers import persistent_gru  # noqa: F401, which names the operations

    batch_size, steps, size, directions, _ = layer

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=options.device, dtype=getattr(torch, options.dtype))

    projected, initial = normal(batch_size, steps, directions, 3 * size), normal(directions, batch_size, size)
    weight, bias = normal(directions, 3 * size, size) * size**-0.5, normal(directions, 4 * size).float()
    lengths = torch.full((batch_size,), steps, dtype=torch.int32, device=options.device)

    def launch() -> Any:
        made = torch.ops.isograd.gru_forward(projected, initial, weight, bias, lengths, True)
        outputs, final, before, gates = made
        return torch.ops.isograd.gru_backward(weight, lengths, before, gates, outputs, final)

    source = gru_clusters.kernels
    gru_clusters.kernels = lambda: changed(source(), changes)  # type: ignore[assignment]
    try:
        return as_graph(launch)
    finally:
        gru_clusters.kernels = source


def changed(source: str, changes: Sequence[tuple[str, str]]) -> str:
    """Raises ValueError where a text does not occur once."""
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"occurs {source.count(old)} times: {old}")
        source = source.replace(old, new)
    return source
