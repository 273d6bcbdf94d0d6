"""Ctrl-C as a request: the first ends the run after the step it is in, the second at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user after its state was saved; the message says how to go on."""


class Request:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.made = False


@contextmanager
def on_interrupt(notify: Callable[[str], None]) -> Iterator[Request]:
    """Turn SIGINT into a request while the block runs; outside of the main thread nothing changes."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.made = True
        notify("stopping after this step; press Ctrl-C again to stop at once")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, previous)
