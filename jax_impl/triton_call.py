"""Kernels in a JAX program: compiled by Triton or by NVRTC, launched by jaxlib.

PyTorch has no twin of this file: Triton's own launcher is PyTorch's.
"""

import functools
import importlib.util
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shared.cuda.nvrtc import Kernel

WARP = 32  # threads
ALIGNED = 16  # bytes: XLA aligns every array better than that
TYPES = {
    **{"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float64": "fp64"},
    **{"bool": "i1", "int32": "i32", "int64": "i64", "uint32": "u32"},
}


@functools.cache
def capability() -> tuple[int, int] | None:
    """The compute capability of the first GPU, if there is one and Triton can compile for it."""
    if importlib.util.find_spec("triton") is None or jax.default_backend() != "gpu":
        return None
    version = getattr(jax.devices()[0], "compute_capability", "")
    return tuple(map(int, version.split("."))) if version.replace(".", "").isdigit() else None  # type: ignore[return-value]


def triton_call(
    kernel: Any,
    arrays: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
    numbers: Sequence[np.integer],
    constants: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    programs: int,
    zeroed: int = 0,
) -> list[Array]:
    """Launch a kernel of arrays, results, numbers and constants, in this order; the last `zeroed` results start at 0.

    `options` are those of Triton's compiler, num_warps among them.

    A batched call (`jax.vmap`) launches once for each of its examples.
    """
    from jax._src.lib import gpu_triton

    types = [*("*" + _type(each) for each in (*arrays, *results)), *map(_type, numbers)]
    compiled = _compiled(kernel, tuple(types), tuple(constants.items()), tuple(options.items()), capability())
    parameters = _array_parameters(arrays, results, zeroed)
    parameters += [gpu_triton.create_scalar_parameter(n.item(), _type(n)) for n in numbers]
    return _call(kernel.__name__, compiled, programs, parameters, arrays, results)


def kernel_call(
    kernel: Kernel, arrays: Sequence[Array], results: Sequence[jax.ShapeDtypeStruct], *, zeroed: int = 0
) -> list[Array]:
    """Launch a kernel that was not made by Triton, of arrays, results and its numbers; otherwise as `triton_call`.

    The size of a cluster is part of its code.
    """
    from jax._src.lib import gpu_triton

    version = capability() or (0, 0)
    sizes = kernel.threads // WARP, 1, kernel.shared_bytes
    made = gpu_triton.TritonKernel(kernel.name, *sizes, kernel.code.ptx, "", 10 * version[0] + version[1])
    parameters = _array_parameters(arrays, results, zeroed)
    parameters += [gpu_triton.create_scalar_parameter(number, "i32") for number in kernel.numbers]
    return _call(kernel.name, made, kernel.blocks, parameters, arrays, results)


def _array_parameters(arrays: Sequence[Array], results: Sequence[jax.ShapeDtypeStruct], zeroed: int) -> list[Any]:
    from jax._src.lib import gpu_triton

    sizes = [0] * (len(arrays) + len(results) - zeroed)
    sizes += [np.prod(each.shape, dtype=int) * each.dtype.itemsize for each in results[len(results) - zeroed :]]
    return [gpu_triton.create_array_parameter(int(size), ALIGNED) for size in sizes]


def _call(
    name: str,
    kernel: Any,
    programs: int,
    parameters: Sequence[Any],
    arrays: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
) -> list[Array]:
    from jax._src.lib import gpu_triton

    opaque = zlib.compress(gpu_triton.TritonKernelCall(kernel, programs, 1, 1, parameters).to_proto(name, b""))
    call = jax.ffi.ffi_call("triton_kernel_call_ffi", list(results), vmap_method="sequential")
    return call(*arrays, opaque=opaque, name=name)


def _type(value: Array | jax.ShapeDtypeStruct | np.integer) -> str:
    """As Triton calls it."""
    return TYPES[jnp.dtype(value.dtype).name]


@functools.cache
def _compiled(
    kernel: Any,
    types: tuple[str, ...],
    constants: tuple[tuple[str, Any], ...],
    options: tuple[tuple[str, Any], ...],
    version: tuple[int, int],
) -> Any:
    """The kernel for parameters of these types, as jaxlib launches it."""
    from jax._src.lib import gpu_triton
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = dict(zip(kernel.arg_names, types, strict=False)) | dict.fromkeys(dict(constants), "constexpr")
    aligned = {(n,): [["tt.divisibility", ALIGNED]] for n, each in enumerate(types) if each.startswith("*")}
    number = 10 * version[0] + version[1]
    source = ASTSource(kernel, {name: signature[name] for name in kernel.arg_names}, dict(constants), aligned)
    made = compile_kernel(source, target=GPUTarget("cuda", number, 32), options=dict(options))
    warps = made.metadata.num_warps
    return gpu_triton.TritonKernel(made.metadata.name, warps, 1, made.metadata.shared, made.asm["ptx"], "", number)
