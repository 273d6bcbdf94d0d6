"""Every cut of a GRU layer for clusters, beside the one that is taken because it takes the least time by its table."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from experiments.bench.gru import Layer, as_graph, block_of
from experiments.bench.options import Options
from experiments.bench.timing import Row, in_turn, rows_of
from shared.cuda.gru_clusters import DTYPES
from shared.cuda.nvrtc import compiler
from shared.errors import IsogradError
from shared.gru_plan import CLUSTERS, ClusterPlan, cluster_plans

LAYERS = tuple(
    Layer(batch_size, 256, hidden_size)
    for hidden_size in CLUSTERS["forward"]
    for batch_size in (128, 256, 300, 512, 600, 700, 1024, 2048)
)


def bench_gru_cuts(options: Options) -> Iterator[Row]:
    """Rows of each layer, one for a cut, with microseconds for each step; ratios are relative to the one that is taken.

    Raises IsogradError where layers do not run as clusters.
    """
    if options.device != "cuda" or options.dtype not in DTYPES or compiler() is None:
        raise IsogradError("isograd bench gru-cuts needs NVRTC, --device cuda and --dtype bfloat16")
    import torch

    processors = torch.cuda.get_device_properties(options.device).multi_processor_count
    for layer in LAYERS:
        for way in CLUSTERS:
            sizes = layer.batch_size, layer.steps, layer.directions, layer.hidden_size
            plans = {told(plan): plan for plan in cluster_plans(way, *sizes, processors)}
            taken = min(plans, key=lambda name: plans[name].microseconds)
            launches = {name: _launch(way, layer, plan, options) for name, plan in plans.items()}
            blocks = {name: block_of(launch, lambda _: torch.cuda.synchronize()) for name, launch in launches.items()}
            for row in rows_of(in_turn(blocks, options.rounds), taken):
                plan = plans[row["side"]]
                step = 1e3 * row["milliseconds"] / plan.longest
                tabled = {"microseconds_a_step": step, "tabled": plan.cut.microseconds, "taken": row["side"] == taken}
                yield {"case": f"{layer}, {options.dtype}, {way}", **row, **tabled}


def told(plan: ClusterPlan) -> str:
    """A cut in words."""
    how = "shared" if plan.cut.shares else "one by one"
    return f"{plan.cut.rows} rows, {plan.cut.columns} units, {plan.at_once} at once, {how}"


def _launch(way: str, layer: Layer, plan: ClusterPlan, options: Options) -> Callable[[], Any]:
    """Launch a kernel by itself."""
    import torch

    from torch_impl.layers import persistent_gru

    batch_size, steps, size, directions, _ = layer

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=options.device, dtype=getattr(torch, options.dtype))

    weight, bias = normal(directions, 3 * size, size) * size**-0.5, normal(directions, 4 * size).float()
    lengths = torch.full((batch_size,), steps, dtype=torch.int32, device=options.device)
    places = batch_size, steps, directions
    initial, outputs, final = (
        normal(directions, batch_size, size),
        normal(*places, size),
        normal(directions, batch_size, size),
    )
    projected, before = normal(*places, 3 * size), normal(*places, size)
    gates = torch.rand((*places, 4 * size), device=options.device).to(before.dtype)
    works = {
        "forward": lambda: torch.ops.isograd.gru_forward(projected, initial, weight, bias, lengths, True),
        "backward": lambda: torch.ops.isograd.gru_backward(weight, lengths, before, gates, outputs, final),
    }
    with patch.object(persistent_gru, "_plan", lambda *_: plan):
        return as_graph(works[way])
