"""Ctrl-C and SIGTERM as a request: the first ends the run after the step it is in, the second at once."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # schedulers send the second, some time before they kill
PATIENCE = 2.0  # seconds that a second signal leaves to a write, or to a compiler that Python can't interrupt


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal after its state was saved; the message says how to go on."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code  # the exit code that shells know the signal by: 130 or 143


class Request:
    """Whether a signal has asked the run to stop, and which one."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def made(self) -> bool:
        return self.number is not None

    @property
    def code(self) -> int:
        return 128 + (self.number or 0)


@contextmanager
def on_interrupt(notify: Callable[[str], None]) -> Iterator[Request]:
    """Turn the signals into a request while the block runs; outside of the main thread nothing changes."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.number = number

    with _watched(notify):
        previous = {number: signal.signal(number, handle) for number in SIGNALS}
        try:
            yield request
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def _watched(notify: Callable[[str], None]) -> Iterator[None]:
    """A thread sees each signal as it comes: Python's handlers wait while the main thread is in a compiler."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    thread = threading.Thread(target=_watch, args=(reader, notify), name="signals", daemon=True)
    thread.start()
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        writer.close()  # the end that the thread reads
        thread.join()
        reader.close()


def _watch(reader: socket.socket, notify: Callable[[str], None]) -> None:
    if not reader.recv(1):
        return
    notify("stopping after this step; press Ctrl-C again to stop at once")
    number = reader.recv(1)
    if not number:
        return
    reader.settimeout(PATIENCE)
    try:
        has_ended = not reader.recv(1)
    except TimeoutError:
        has_ended = False
    if not has_ended:
        notify("stopped at once: what was saved before is whole")
        os._exit(128 + number[0])
