"""The code of the guides runs from top to bottom. A page that needs PyTorch is skipped without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
# What is replaced so that the page runs in seconds, by page.
SHORTER = {
    "interchange.md": {},
    "own_data.md": {"= 500, 1500, 1000": "= 60, 2, 2", "size=32": "size=8", "32, 32, 3": "8, 8, 3"},
}


@pytest.mark.parametrize("name", SHORTER)
def test_code_of_the_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("PIL", "safetensors"):
        pytest.importorskip(package)
    text = (DOCS / name).read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    if re.search(r"^import torch$", code, re.MULTILINE):
        pytest.importorskip("torch")
    for long, short in SHORTER[name].items():
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {"__name__": "page"})
