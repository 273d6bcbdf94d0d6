"""The kernels of a GRU layer compiled for a GPU as a launch compiles them, on any machine that has Triton."""

from typing import Any

from crosscheck.kernels.layers import Sizes
from shared.gru_plan import ASSERTING, SERVED, plan_for

PROCESSORS = 132  # of an H100 and an H200
TYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
INTEGERS = ("lengths", "counters")
SUMS = ("bias", "d_bias")  # in float32
WAYS = ("forward", "backward")


def compile_kernel(way: str, sizes: Sizes) -> Any:
    """What Triton makes of the kernel "forward" or "backward"; raises what Triton raises."""
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    import shared.kernels.gru as kernels  # those that are planted

    kernel, dtype = getattr(kernels, f"gru_{way}"), TYPES[sizes.dtype]
    plan = plan_for(way, *sizes[:4], getattr(torch, sizes.dtype).itemsize, PROCESSORS)
    constants = {**plan.constants, "PRECISION": "tf32x3", "BOUNDED": True}
    constants |= {"TRAINS": True} if way == "forward" else {}
    types = dict.fromkeys(INTEGERS, "*i32") | dict.fromkeys(SUMS, "*fp32") | dict.fromkeys(kernels.SCALARS, "i32")
    types |= dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, f"*{dtype}") for name in kernel.arg_names}
    aligned = {(n,): [["tt.divisibility", 16]] for n, each in enumerate(signature.values()) if each.startswith("*")}
    ((major, minor),) = SERVED
    target = GPUTarget("cuda", 10 * major + minor, 32)
    options = {"num_warps": plan.cut.warps, **ASSERTING}
    return triton.compile(ASTSource(kernel, signature, constants, aligned), target=target, options=options)
