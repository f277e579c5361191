"""Deferred handling of Ctrl-C, so that a training step is not interrupted halfway.

Checked by: tests/training/test_resume.py
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from ..distributed.ranks import Ranks


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training run after a complete step; the message says at which, and where its state is saved.

    A program that does not catch it ends with the message alone, without a traceback, unless it has an excepthook.
    """


@contextmanager
def deferred_interrupt(message: Callable[[], str], ranks: Ranks) -> Iterator[Callable[[], bool]]:
    """Delay Ctrl-C to the end of the `with` block, which then raises Interrupted with the message.

    Yields a function that tells whether Ctrl-C was pressed; several ranks learn it after the same step. A second Ctrl-C
    raises KeyboardInterrupt immediately. Outside the main thread, or if SIGINT has another handler, this does nothing.
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
    interrupted = ranks.agree_on(lambda: pressed)
    try:
        yield interrupted
    finally:
        if active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted():
        if sys.excepthook is sys.__excepthook__:
            sys.excepthook = _excepthook
        raise Interrupted(message())
    if pressed:  # after the last step on which the ranks agree
        raise KeyboardInterrupt


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, Interrupted):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)
