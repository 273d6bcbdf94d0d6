"""Unrolls JAX's loops and removes its checkpoints while a function is traced, so that tensors inside become visible.

Neither changes the result, only how the program runs: a scan's body is traced once for all steps, where no tensor can
leave it; unrolled, every step is ordinary code.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

LONGEST = 64  # longer scans stay rolled: the unrolled code would take minutes to compile

_active: ContextVar[bool] = ContextVar("unrolled", default=False)
_lock = threading.Lock()
_users: list[object] = []  # other threads may trace at the same time: the last one restores the originals


@contextmanager
def unrolled() -> Iterator[None]:
    """In this context and thread, `jax.lax.scan` is a Python loop and `jax.checkpoint` returns its function."""
    user, token = object(), _active.set(True)
    with _lock:
        _users.append(user)
        _install({place: _chosen(place, stand_in) for place, stand_in in STAND_INS.items()})
    try:
        yield
    finally:
        _active.reset(token)
        with _lock:
            _users.remove(user)
            if not _users:
                _install(ORIGINALS)


Place = tuple[Any, str]


def _install(functions: dict[Place, Callable[..., Any]]) -> None:
    for (module, name), function in functions.items():
        setattr(module, name, function)


def _chosen(place: Place, stand_in: Callable[..., Any]) -> Callable[..., Any]:
    """The stand-in where this thread asked for it, else the original."""
    return lambda *args, **kwargs: (stand_in if _active.get() else ORIGINALS[place])(*args, **kwargs)


def _scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    *args: Any,
    **options: Any,
) -> Any:
    """jax.lax.scan, one step at a time."""
    leaves = jax.tree.leaves(xs)
    steps = len(leaves[0]) if leaves else length or 0
    if not 0 < steps <= LONGEST:
        return ORIGINALS[jax.lax, "scan"](f, init, xs, length, reverse, *args, **options)
    carry, outputs = init, []
    for step in reversed(range(steps)) if reverse else range(steps):
        carry, output = f(carry, jax.tree.map(lambda x, t=step: x[t], xs))
        outputs.append(output)
    outputs = outputs[::-1] if reverse else outputs
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *outputs)


def _checkpoint(fun: Callable[..., Any], **_: Any) -> Callable[..., Any]:
    """jax.checkpoint without recomputation."""
    return fun


STAND_INS: dict[Place, Callable[..., Any]] = {
    (jax.lax, "scan"): _scan,
    (jax, "checkpoint"): _checkpoint,
    (jax, "remat"): _checkpoint,
}
ORIGINALS: dict[Place, Callable[..., Any]] = {(module, name): getattr(module, name) for module, name in STAND_INS}
