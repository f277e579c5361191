"""The code in docs/checking.md runs and prints what the page says. Blocks of PyTorch or JAX are skipped without "
"them.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "checking.md"
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n```text\n(.*?)```)?", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("code", "output"), BLOCKS, ids=lambda text: text.strip().splitlines()[-1][:30] if text else ""
)
def test_code_block_fails_as_the_page_says(code: str, output: str) -> None:
    for library in re.findall(r"^import (torch|jax)$", code, re.MULTILINE):
        pytest.importorskip(library)
    names = {"__name__": "page"}
    if not output:
        exec(compile(code, str(PAGE), "exec"), names)
        return
    *before, last = re.split(r"\n(?=\S)", code.rstrip())  # the last statement is wrong, the ones before it are right
    exec(compile("\n".join(before), str(PAGE), "exec"), names)
    with pytest.raises(AssertionError) as caught:
        exec(compile(last, str(PAGE), "exec"), names)
    got = f"AssertionError: {caught.value}\n"
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(output, got, options), got


def test_all_code_blocks_are_found() -> None:
    assert len(BLOCKS) == PAGE.read_text("utf-8").count("```python") >= 6
    assert sum(bool(output) for _, output in BLOCKS) >= 5
