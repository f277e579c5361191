"""The Python code in README.md runs as printed; its figures are small files of the repository, one per chapter."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
FIGURES = re.findall(r"\[!\[[^\]]+\]\(([^)]+)\)\]\(([^)]+)\)", TEXT)  # (picture, page that it leads to)
CHAPTERS = "autoregressive", "flows", "latent", "adversarial"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_code_block_runs(block: str) -> None:
    exec(compile(block, str(README), "exec"), {})


def test_code_blocks_are_found() -> None:
    assert len(BLOCKS) >= 2


def test_each_chapter_has_a_small_figure_that_leads_to_its_pages() -> None:
    assert [page.split("/")[1] for _, page in FIGURES] == list(CHAPTERS)
    assert TEXT.count("![") == len(FIGURES)
    for picture, page in FIGURES:
        assert (ROOT / page).is_file()
        assert (ROOT / picture).stat().st_size <= 150_000


def test_links_are_absolute_in_the_distributions() -> None:
    absolute = runpy.run_path(str(ROOT / "setup.py"))["absolute"]
    text = absolute(TEXT, "https://example.org/x/")
    assert not re.findall(r"\]\((?!https://|#)[^)]*\)", text)
    for picture, page in FIGURES:
        assert f"](https://example.org/x/raw/main/{picture})](https://example.org/x/blob/main/{page})" in text
    assert absolute("[a](https://example.org) [b](#b)", "https://x") == "[a](https://example.org) [b](#b)"
