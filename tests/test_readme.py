"""The Python code in README.md runs as printed."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_code_block_runs(block: str) -> None:
    exec(compile(block, str(README), "exec"), {})


def test_code_blocks_are_found() -> None:
    assert len(BLOCKS) >= 2
