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


def test_results_are_lent_until_the_next_call_and_each_may_be_written_to():
    def shared(named):
        doubled = 2 * named["a"].clone().requires_grad_()
        return doubled, doubled, doubled[1:], named["a"], named["b"] + 1

    x, n = torch.arange(5.0, device="cuda"), torch.arange(5, device="cuda")
    recording = Recording(shared, ({"a": torch.zeros_like(x), "b": torch.zeros_like(n)},))
    for factor in (1, 3):
        doubled = 2 * factor * x
        expected = [doubled, doubled, doubled[1:], factor * x, factor * n + 1]
        kept, lent = (call({"a": factor * x, "b": factor * n}) for call in (recording, recording.lend))
        assert not any(result.requires_grad for result in lent)
        for number, result in enumerate(lent):
            assert all(map(torch.equal, lent[number:], expected[number:]))
            result.zero_()
        assert all(map(torch.equal, kept, expected))
        recording({"a": x, "b": n})
        assert all(map(torch.equal, kept, expected))


def test_a_recording_leaves_its_arguments_alone_and_may_use_the_memory_of_another():
    given, zeros = torch.ones(5, device="cuda"), torch.zeros(5, device="cuda")
    first = Recording(lambda x: (x + 1,), (given,))
    second = Recording(lambda x: (x + 2,), (given,), first)
    assert second.graph.pool() == first.graph.pool()
    assert torch.equal(first(zeros)[0], zeros + 1)
    assert torch.equal(second(zeros)[0], zeros + 2)
    assert torch.equal(given, zeros + 1)
