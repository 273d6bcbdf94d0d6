"""A recorded function on a GPU: its graph gives what a call gives, whatever else the process does meanwhile."""

import gc
import threading

import jax
import jax.numpy as jnp
import pytest
import torch

from torch_impl.recorded import WARM_UP, Recording

pytestmark = pytest.mark.gpu


class Garbage:
    """A compiled program of JAX, its memory, and a graph of torch, which only the garbage collector can free."""

    def __init__(self, size):
        self.array = jnp.arange(size, dtype=float)
        self.program = jax.jit(lambda x: x * size).lower(self.array).compile()
        self.recording = Recording(lambda x: (x + size,), (torch.ones(size, device="cuda"),))
        self.itself = self


def computed_by_jax(size):
    """As beside a training run: memory is taken, a program is compiled, and the device is waited for."""
    jax.jit(lambda x: x @ x.T)(jnp.ones((size, size))).block_until_ready()


def test_a_graph_is_recorded_while_jax_works_and_things_of_both_are_freed():
    unused = [Garbage(size) for size in range(1, WARM_UP + 2)]

    def doubled(x):
        size = 1000 + len(unused)
        unused.pop()
        gc.collect()
        beside = threading.Thread(target=computed_by_jax, args=(size,))
        beside.start()
        beside.join()
        return (2 * x,)

    recording = Recording(doubled, (torch.zeros(5, device="cuda"),))
    assert not unused
    x = torch.arange(5.0, device="cuda")
    assert torch.equal(recording(x)[0], 2 * x)
