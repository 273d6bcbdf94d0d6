"""The kernels of gru_cluster.cu, compiled for a layer."""

from functools import cache
from pathlib import Path

from shared.cuda.nvrtc import Code, Kernel, compile_source
from shared.gru_plan import Plan

HOPPER = Path(__file__).parents[1] / "kernels" / "hopper.cuh"
KERNELS = HOPPER.with_name("gru_cluster.cu")
TARGET = "--gpu-architecture=sm_90"
ROWS = 16  # of a turn
DTYPES = {"bfloat16": 0, "float16": 1}


def cluster_kernel(way: str, plan: Plan, dtype: str, trains: bool) -> Kernel:
    """The kernel "forward" or "backward" for a dtype, by its name: its arrays are those of gru.py that nobody swaps."""
    options = (TARGET, "--std=c++17", "--fmad=false", *definitions(way, plan, dtype, trains))
    numbers = plan.batch_size, plan.steps, plan.directions
    code = _compiled(kernels(), options)
    return Kernel(f"gru_{way}", code, plan.programs, 32 * plan.cut.warps, shared_bytes(way, plan), numbers)


@cache
def _compiled(source: str, options: tuple[str, ...]) -> Code:
    """Once, since layers ask for it at every launch."""
    return compile_source(HOPPER.read_text(encoding="utf-8") + source, options)


@cache
def kernels() -> str:
    """The source, for any implementation of what it needs of a GPU."""
    return KERNELS.read_text(encoding="utf-8")


def definitions(way: str, plan: Plan, dtype: str, trains: bool) -> list[str]:
    """What the source is compiled for, as options of a compiler."""
    made = {"FORWARD": int(way == "forward"), "TRAINS": int(trains), "H": plan.hidden_size, "HALF": DTYPES[dtype]}
    made |= {"UNITS": plan.cut.columns, "TURNS": plan.cut.rows // ROWS, "SHARED": shared_bytes(way, plan)}
    return [f"-D{name}={value}" for name, value in made.items()]


def shared_bytes(way: str, plan: Plan) -> int:
    """Of `Memory` in the source, which asserts it."""
    units, turns = plan.cut.columns, plan.cut.rows // ROWS
    turn = 4 * ROWS * units + 16  # a float a unit, two barriers
    if way == "forward":
        return turns * (turn + 64 + 68 * plan.hidden_size) + 6144 + 16 * units
    return turn + 64 * plan.hidden_size + 528 * units
