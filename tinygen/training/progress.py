"""The progress of a training run on stderr: a bar in a terminal or notebook, elsewhere one line per record.

Checked by: tests/training/test_progress.py
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """A display that shows nothing. Subclasses show the step, records, and messages such as that of a resumed run."""

    def __call__(self, step: int, text: str) -> None:
        """Show the number of steps so far, and a text that the next call replaces."""

    def record(self, text: str) -> None:
        """Show a record. A bar shows only its training loss, which is in the text of the last step."""

    def message(self, text: str) -> None:
        """Show a text that stays."""


class Bar(Progress):
    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def __call__(self, step: int, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(step - self.bar.n)

    def message(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)


class Lines(Progress):
    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    record = message


@contextmanager
def progress_bar(total: int, done: int, shown: bool, message: str = "") -> Iterator[Progress]:
    """Yield a Bar, Lines if stderr is a file or pipe or tqdm is missing, or an object that shows nothing.

    Args:
        message: shown at the start.
    """
    if not shown:
        yield Progress()
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    in_notebook = "ipykernel" in sys.modules
    if tqdm is None or not (in_notebook or sys.stderr.isatty()):
        yield _started(Lines(), message)
        return
    with tqdm(total=total, initial=done, unit="step") as bar:
        yield _started(Bar(bar), message)


def _started(progress: Progress, message: str) -> Progress:
    if message:
        progress.message(message)
    return progress
