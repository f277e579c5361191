"""Whether operations record their edges: a setting of each thread. Checked by: tests/autograd/test_tensor.py"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Mode(threading.local):
    grad_enabled = True


mode = Mode()


def is_grad_enabled() -> bool:
    """Return whether gradient recording is enabled in this thread."""
    return mode.grad_enabled


@contextmanager
def set_grad_enabled(enabled: bool) -> Iterator[None]:
    """Context manager that enables or disables gradient recording in this thread."""
    previous, mode.grad_enabled = mode.grad_enabled, enabled
    try:
        yield
    finally:
        mode.grad_enabled = previous


def no_grad() -> Any:
    """Context manager, or decorator `@no_grad()`, that disables gradient recording in this thread."""
    return set_grad_enabled(False)
