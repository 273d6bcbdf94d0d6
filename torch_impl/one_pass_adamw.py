"""AdamW's step as one pass over the memory of all tensors, by shared/kernels/adamw.cu, with the bits of torch's ten.

JAX has no twin of this file: XLA makes one pass of a step.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shared import kernels
from shared.configs.optimizer import AdamWConfig
from shared.cuda.nvrtc import Code, Kernel, compile_source, compiler, launch_at
from shared.errors import IsogradError

SOURCE = Path(kernels.__file__).with_name("adamw.cu")
ROWS, THREADS, PIECE = 90, 256, 8192  # tensors of a launch, threads of a block, and numbers that a block moves
DEFINITIONS = f"-DROWS={ROWS}", f"-DTHREADS={THREADS}", f"-DPIECE={PIECE}"
ALIGNED = 16  # bytes, which are read at once
TABLE = np.dtype(  # that of the source
    [("places", np.int64, (4, ROWS)), ("sizes", np.int64, ROWS), ("first", np.int32, ROWS), ("count", np.int32)]
    + [("factors", np.float32, 7)]
)
Groups = tuple[list[Tensor], ...]  # weights, gradients and both moments


def serves(groups: Groups) -> bool:
    """Whether there is a kernel for such tensors, on their device: float32, in one piece."""
    device = groups[0][0].device
    return _code(device) is not None and all(_is_plain(tensor, device) for group in groups for tensor in group)


def move(groups: Groups, config: AdamWConfig, step: int, learning_rate: float) -> None:
    """Change weights and moments in place by a step; the first is 1."""
    places = np.array([[tensor.data_ptr() for tensor in group] for group in groups])
    sizes = np.array([weight.numel() for weight in groups[0]])
    for start in range(0, len(sizes), ROWS):
        rows = slice(start, start + ROWS)
        count, pieces = len(sizes[rows]), -(-sizes[rows] // PIECE)
        table = np.zeros((), TABLE)
        table["places"][:, :count], table["sizes"][:count] = places[:, rows], sizes[rows]
        table["first"][:count], table["count"] = np.cumsum(pieces) - pieces, count
        table["factors"] = _factors(config, step, learning_rate)
        _launch(table, int(pieces.sum()), groups[0][0].device)


def _factors(config: AdamWConfig, step: int, learning_rate: float) -> tuple[float, ...]:
    """Those of torch, in float64."""
    root = (1 - config.beta_2**step) ** 0.5
    rate = -learning_rate / (1 - config.beta_1**step)
    decay = 1 - learning_rate * config.weight_decay
    return decay, 1 - config.beta_1, config.beta_2, 1 - config.beta_2, root, config.eps, rate


def _launch(table: np.ndarray, blocks: int, device: torch.device) -> None:
    code, stream = _code(device), torch.cuda.current_stream(device)
    assert code is not None
    kernel = Kernel("adamw", code, blocks, THREADS, shared_bytes=0, numbers=())
    launch_at(kernel, [table.ctypes.data], stream.cuda_stream, stream.device_index)


def _is_plain(tensor: Tensor, device: torch.device) -> bool:
    is_whole = tensor.is_contiguous() and tensor.data_ptr() % ALIGNED == 0
    return is_whole and tensor.dtype == torch.float32 and tensor.device == device


@cache
def _code(device: torch.device) -> Code | None:
    """None on a CPU, without a compiler, and for a GPU that it does not know."""
    if device.type != "cuda" or compiler() is None:
        return None
    major, minor = torch.cuda.get_device_capability(device)
    options = f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", "--fmad=false", *DEFINITIONS
    try:
        return compile_source(SOURCE.read_text(encoding="utf-8"), options)
    except IsogradError:
        return None
