"""NVIDIA's run-time compiler and its driver through ctypes: CUDA C++ runs where only the wheels of a framework are."""

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shared.errors import IsogradError

LIBRARY = re.compile(r"libnvrtc\.so\.(\d+)")
BUILTINS = "libnvrtc-builtins.so.*"
VERSION = re.compile(r"^\.version .*$", re.MULTILINE)
ANY_ASSEMBLER = ".version 8.1"  # of CUDA 12.1 and newer; sources need no more
LARGEST_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Code(NamedTuple):
    """What a source is compiled to: a text for any assembler, and machine code."""

    ptx: str
    cubin: bytes


class Kernel(NamedTuple):
    """A function of arrays and of these numbers, int32, and what its launch takes."""

    name: str
    code: Code
    blocks: int
    threads: int
    shared_bytes: int
    numbers: tuple[int, ...]


@functools.cache
def compiler() -> ctypes.CDLL | None:
    """The newest NVRTC among the installed wheels that the driver is not older than; None if there is none."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    paths = [path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    versions = {int(found[1]): path for path in paths if (found := LIBRARY.fullmatch(path.name))}
    served = [version for version in versions if version <= _driver_version()]
    return _load(versions[max(served)]) if served else None


def _load(path: Path) -> ctypes.CDLL | None:
    """With the library that it opens by its name alone."""
    try:
        for builtins in path.parent.glob(BUILTINS):
            ctypes.CDLL(str(builtins))
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def compile_source(source: str, options: tuple[str, ...]) -> Code:
    """Raises IsogradError with the compiler's words if it can't."""
    nvrtc = compiler()
    if nvrtc is None:
        raise IsogradError("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    program, given = ctypes.c_void_p(), [option.encode() for option in options]
    _succeed(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
    try:
        if nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given)):
            raise IsogradError(f"NVRTC: {_text(nvrtc, program, 'ProgramLog').decode()}")
        ptx = VERSION.sub(ANY_ASSEMBLER, _text(nvrtc, program, "PTX").decode(), count=1)
        return Code(ptx, _bytes(nvrtc, program, "CUBIN"))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def launch(kernel: Kernel, addresses: Sequence[int], stream: int, device: int) -> None:
    """Launch a kernel of arrays at these addresses, and of its numbers, on a stream of a device."""
    arguments = [*map(ctypes.c_void_p, addresses), *map(ctypes.c_int, kernel.numbers)]
    launch_at(kernel, [*map(ctypes.addressof, arguments)], stream, device)


def launch_at(kernel: Kernel, places: Sequence[int], stream: int, device: int) -> None:
    """The same for a kernel whose arguments are at these addresses of the host's memory."""
    driver, pointers = _driver(), (ctypes.c_void_p * len(places))(*places)
    sizes = kernel.blocks, 1, 1, kernel.threads, 1, 1, kernel.shared_bytes
    _succeed(driver.cuCtxPushCurrent_v2(_context(device)))
    try:
        function = _function(kernel.code.cubin, kernel.name, kernel.shared_bytes, device)
        _succeed(driver.cuLaunchKernel(function, *sizes, ctypes.c_void_p(stream), pointers, None))
    finally:
        _succeed(driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())))


@functools.cache
def _function(cubin: bytes, name: str, shared_bytes: int, device: int) -> ctypes.c_void_p:
    driver, module, function = _driver(), ctypes.c_void_p(), ctypes.c_void_p()
    _succeed(driver.cuModuleLoadData(ctypes.byref(module), cubin))
    _succeed(driver.cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
    _succeed(driver.cuFuncSetAttribute(function, LARGEST_SHARED_BYTES, shared_bytes))
    return function


@functools.cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


@functools.cache
def _context(device: int) -> ctypes.c_void_p:
    """That of the frameworks."""
    context = ctypes.c_void_p()
    _succeed(_driver().cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    return context


def _driver_version() -> int:
    """Of CUDA, that the driver knows; 0 without one."""
    version = ctypes.c_int()
    try:
        _succeed(_driver().cuDriverGetVersion(ctypes.byref(version)))
    except (OSError, IsogradError):
        return 0
    return version.value // 1000


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    return _bytes(nvrtc, program, what).rstrip(b"\0")


def _bytes(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _succeed(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    found = ctypes.create_string_buffer(size.value)
    _succeed(getattr(nvrtc, f"nvrtcGet{what}")(program, found))
    return found.raw


def _succeed(code: int) -> None:
    if code:
        raise IsogradError(f"CUDA: error {code}")
