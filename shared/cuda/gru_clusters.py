"""The kernels of gru_cluster.cu, gru_rows.cu and gru_rows_backward.cu, compiled for a layer."""

from functools import cache
from pathlib import Path

from shared.cuda.nvrtc import Code, Kernel, compile_source
from shared.gru_plan import ClusterPlan

HOPPER = Path(__file__).parents[1] / "kernels" / "hopper.cuh"
KERNELS = [HOPPER.with_name(name) for name in ("gru_cluster.cu", "gru_rows.cu", "gru_rows_backward.cu")]
TARGET = "--gpu-architecture=sm_90a"
DTYPES = {"bfloat16": 0, "float16": 1}


def cluster_kernel(way: str, plan: ClusterPlan, dtype: str, trains: bool) -> Kernel:
    """The kernel "forward" or "backward" for a dtype, by its name: its arrays are those of gru.py."""
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
    return "".join(file.read_text(encoding="utf-8") for file in KERNELS)


def definitions(way: str, plan: ClusterPlan, dtype: str, trains: bool) -> list[str]:
    """What the source is compiled for, as options of a compiler."""
    made = {"FORWARD": int(way == "forward"), "TRAINS": int(trains), "H": plan.hidden_size, "HALF": DTYPES[dtype]}
    made |= {"UNITS": plan.cut.columns, "ROWS": plan.cut.rows, "AT_ONCE": plan.cut.at_once}
    made |= {"THREADS": 32 * plan.cut.warps, "SHARED": shared_bytes(way, plan)}
    return [f"-D{name}={value}" for name, value in made.items()]


def shared_bytes(way: str, plan: ClusterPlan) -> int:
    """Of `Memory` in the source, which asserts it."""
    rows, units, hidden_size = plan.cut.rows, plan.cut.columns, plan.hidden_size
    own = 4 * rows * units  # bytes: a float a unit
    at_once = plan.cut.at_once
    swapped = (plan.cut.turns + 1) * (2 * at_once * hidden_size + 8)  # a buffer of states, or sums, more than turns
    if way == "backward" and rows > 16:
        return -(-(own + swapped + 4 * rows + 4 + 96 * hidden_size + 12 * units * (at_once + 1)) // 16) * 16
    if way == "backward":
        return own + 16 + units // 4 + 64 * hidden_size + 528 * units
    if rows == 16:
        return own + 16 + units // 4 + 64 + 68 * hidden_size + 6144 + 16 * units
    return own + swapped + 4 * rows + 8 + units * (12 * at_once + 16 + 3 * hidden_size // 2)
