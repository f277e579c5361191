"""A progress bar if tqdm is installed.

Checked by: tests/training/test_fit.py
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int, done: int, shown: bool) -> Iterator[Callable[[int, str], None]]:
    """Yield a function show(step, text) that updates the bar; it does nothing if tqdm is missing or shown is False."""
    try:
        from tqdm import tqdm
    except ImportError:
        shown = False
    if not shown:
        yield lambda step, text: None
        return
    with tqdm(total=total, initial=done, unit="step") as bar:

        def show(step: int, text: str) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(step - bar.n)

        yield show
