"""Deferred handling of Ctrl-C, so that a training step is not interrupted halfway.

Checked by: tests/training/test_resume.py
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Delay KeyboardInterrupt to the end of the `with` block. Yield a function that tells whether Ctrl-C was pressed.

    A second Ctrl-C raises it immediately. Outside the main thread, or if SIGINT has another handler, this does nothing.
    """
    pressed = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    active = threading.current_thread() is threading.main_thread()
    active = active and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if active:
        signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        if active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
