"""AdamW's kernel: a C++ compiler makes a program of it, as exact as torch's; on a GPU it has the bits of foreach."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.adamw import adamw

from crosscheck.criterion import NOISE_RATIO
from shared.configs.optimizer import AdamConfig, AdamWConfig
from shared.cuda.nvrtc import compiler
from torch_impl import one_pass_adamw
from torch_impl.optimizer import RULES

COMPILER = shutil.which("c++")
STEPS, RATE = 3, 1e-2
SIZES = 0, 1, 3, 4, 2 * one_pass_adamw.PIECE + 7, 4 * one_pass_adamw.THREADS + 1, *[5] * one_pass_adamw.ROWS
CONFIGS = {
    "as it is": AdamWConfig(),
    "new gradients count more": AdamWConfig(beta_1=0.25, beta_2=0.5, eps=1e-3, weight_decay=0.5),
    "without decay": AdamWConfig(weight_decay=0.0),
}
PROGRAM = """
#include <cmath>
#define __device__
#define __global__
#define __grid_constant__
#define __launch_bounds__(threads)
struct alignas(16) float4 { float x, y, z, w; };
static struct { int x; } blockIdx, threadIdx;
#include KERNEL
extern "C" void launch(const Table *table, int blocks) {
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < THREADS; ++threadIdx.x) adamw(*table);
}
"""
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory) -> ctypes.CDLL:
    """The kernel as a program whose threads run one after the other."""
    if COMPILER is None:
        pytest.skip("needs a C++ compiler: c++")
    folder: Path = tmp_path_factory.mktemp("adamw")
    (folder / "program.cpp").write_text(PROGRAM)
    options = "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f'-DKERNEL="{one_pass_adamw.SOURCE}"'
    files = str(folder / "program.cpp"), "-o", str(folder / "program.so")
    subprocess.run([COMPILER, *options, *one_pass_adamw.DEFINITIONS, *files], check=True)
    return ctypes.CDLL(str(folder / "program.so"))


def drawn(dtype, sizes=SIZES, device="cpu"):
    """Weights, the gradients of each step, and moments that were gathered before."""
    generator = np.random.default_rng(0)
    arrays = [[generator.standard_normal(size, np.float32) for size in sizes] for _ in range(STEPS + 3)]
    weights, means, squares, *gradients = ([torch.tensor(a, dtype=dtype, device=device) for a in row] for row in arrays)
    return weights, [0.1 * each for each in means], [each.square() for each in squares], gradients


def ended(move, dtype, *where):
    """Weights and moments after some steps; the first is another than 1."""
    weights, means, squares, gradients = drawn(dtype, *where)
    for step, found in enumerate(gradients, 2):
        move((weights, found, means, squares), step)
    return weights, means, squares


def by_torch(config, **options):
    def move(groups, step):
        adamw(
            *groups,
            max_exp_avg_sqs=[],
            state_steps=list(torch.full((len(groups[0]),), step - 1.0).unbind()),
            lr=RATE,
            beta1=config.beta_1,
            beta2=config.beta_2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            amsgrad=False,
            maximize=False,
            **options,
        )

    return move


def by_ours(config):
    return lambda groups, step: one_pass_adamw.move(groups, config, step, RATE)


@each_config
def test_the_kernel_is_as_exact_as_torch(config, emulated, monkeypatch):
    def launch(table, blocks, device):
        emulated.launch(ctypes.c_void_p(table.ctypes.data), blocks)

    monkeypatch.setattr(one_pass_adamw, "_launch", launch)
    exact = ended(by_torch(config, foreach=False), torch.float64)
    ours, theirs = (
        [largest_error(*pair) for pair in zip(ended(move, torch.float32), exact, strict=True)]
        for move in (by_ours(config), by_torch(config, foreach=False))
    )
    assert all(error <= NOISE_RATIO * other for error, other in zip(ours, theirs, strict=True))


def largest_error(found, exact):
    return max(float((a - b).abs().max()) for a, b in zip(found, exact, strict=True) if len(a))


@pytest.mark.parametrize("group", range(4), ids=["weights", "gradients", "means", "squares"])
def test_only_whole_tensors_of_float32_are_served_and_none_on_a_cpu(group, monkeypatch):
    whole = torch.ones(4, 8)
    others = whole.mT, whole[:, 1:], whole.view(-1)[1:], whole.double(), whole.to("meta")
    groups = [[whole, whole] for _ in range(4)]
    assert not one_pass_adamw.serves(tuple(groups))
    monkeypatch.setattr(one_pass_adamw, "_code", lambda device: "compiled")
    served = [one_pass_adamw.serves(tuple(groups))]
    for other in others:
        groups[group] = [whole, other]
        served.append(one_pass_adamw.serves(tuple(groups)))
    assert served == [True] + [False] * len(others)


needs_nvrtc = pytest.mark.skipif(compiler() is None, reason="needs NVRTC and a driver: pip install nvidia-cuda-nvrtc")


@pytest.mark.gpu
@needs_nvrtc
@pytest.mark.parametrize("sizes", [SIZES, [1_000_003], range(300)], ids=["mixed", "large", "many"])
@each_config
def test_a_gpu_has_the_bits_of_foreach(config, sizes):
    theirs, ours = (
        ended(move, torch.float32, sizes, "cuda") for move in (by_torch(config, foreach=True), by_ours(config))
    )
    assert one_pass_adamw.serves(tuple(drawn(torch.float32, sizes, "cuda")[:3]))
    for a, b in zip(sum(ours, []), sum(theirs, []), strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@needs_nvrtc
@pytest.mark.parametrize("config", [AdamWConfig(), AdamConfig(weight_decay=0.5)], ids=["adamw", "adam"])
def test_rules_move_by_it(config, monkeypatch):
    def step():
        groups = [{"a": group[0]} for group in drawn(torch.float32, [9], "cuda")[:3]]
        gradients = {"a": torch.ones(9, device="cuda")}
        rule = RULES[type(config)](config)
        weights, moments = rule.update(groups[0], gradients, tuple(groups[1:]), rule.coefficients(2, RATE))
        return [named["a"] for named in (weights, *moments)]

    ours = step()
    monkeypatch.setattr(one_pass_adamw, "serves", lambda groups: False)
    assert all(map(torch.equal, ours, step()))
