"""Ctrl-C, SIGTERM and SIGHUP as a request: the first ends the run after the step it is in, the second at once."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler's warning before it kills, a closed terminal
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
ONE_PRESS = 0.5  # seconds in which a repeat counts as the first signal: many signal a process and its group
SOON = 0.05  # seconds until a lost interrupt is repeated
PATIENCE = 2.0  # seconds that a second signal leaves a write, or a compiler that Python can't interrupt


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal after its state was saved; the message says how to resume."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code  # the exit code that shells use for the signal: 130 or 143


class Request:
    """Whether a signal has asked the run to stop, and which one."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._made_at = 0.0

    def make(self, number: int) -> None:
        """Note the first signal; a later one stops at once, with a KeyboardInterrupt."""
        if not self.made:
            self.number, self._made_at = number, time.monotonic()
        elif time.monotonic() - self._made_at > ONE_PRESS:
            raise KeyboardInterrupt

    @property
    def made(self) -> bool:
        return self.number is not None

    @property
    def code(self) -> int:
        return 128 + (self.number or 0)


def keep_interrupts() -> None:
    """Repeat an interrupt that came during a callback, such as JAX's of the garbage collector, in which it is lost."""
    report, main = sys.unraisablehook, threading.main_thread().ident

    def repeat(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            # A signal wakes a thread that waits for something; `_thread.interrupt_main` lets it wait.
            again = threading.Timer(SOON, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = repeat


def ignore_signals() -> None:
    """Ignore the signals from now on: the process is about to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def on_interrupt(notify: Callable[[str], None]) -> Iterator[Request]:
    """Turn the signals into a request while the block runs, except ignored ones, such as SIGHUP under `nohup`.

    Does nothing outside the main thread.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    with _watched(notify), handled_by(lambda number, frame: request.make(number)):
        yield request


@contextmanager
def handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install this handler for the signals that are not ignored while the block runs."""
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _watched(notify: Callable[[str], None]) -> Iterator[None]:
    """Watch signals in a thread: Python's handlers don't run while the main thread is in a compiler."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    thread = threading.Thread(target=_watch, args=(reader, notify), name="signals", daemon=True)
    thread.start()
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        writer.close()  # the thread reads end of file and ends
        thread.join()
        reader.close()


def _watch(reader: socket.socket, notify: Callable[[str], None]) -> None:
    if not reader.recv(1):
        return
    began = time.monotonic()
    with suppress(OSError):  # the terminal may be gone
        notify("stopping after this step; press Ctrl-C again to stop at once")
    while (number := reader.recv(1)) and time.monotonic() - began <= ONE_PRESS:
        pass
    if not number:
        return
    reader.settimeout(PATIENCE)
    try:
        has_ended = not reader.recv(1)
    except TimeoutError:
        has_ended = False
    if not has_ended:
        with suppress(OSError):
            notify("stopped at once: earlier checkpoints are intact")
        os._exit(128 + number[0])
