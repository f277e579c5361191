"""The notebooks of pages with code cells have their text and code, and run from top to bottom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("myst_nb")

import nbclient
import nbformat

from docs._ext.notebooks import DOCS, block, file_of, markdown, notebook, pages


def test_text_code_and_formulas_are_those_of_the_page() -> None:
    page = DOCS / "autoregressive" / "made.md"
    cells = notebook(page).cells
    assert cells[0].source.startswith("# MADE\n\nRun this notebook")
    assert "def made_masks(" in cells[0].source
    assert "\\begin{aligned}" in cells[0].source
    assert next(cell.source for cell in cells if cell.cell_type == "code").startswith("import numpy as np")
    assert "data:image/png;base64," in cells[-1].source
    assert "reproduced" in cells[-1].source
    assert not [cell for cell in cells if "```{" in cell.source]


def test_unknown_directives_are_rejected() -> None:
    with pytest.raises(ValueError, match="got 'grid'"):
        block(Path("page.md"), "grid", "", "")


def test_links_to_pages_are_removed() -> None:
    assert markdown("[a](../b.md#c) and [d](https://example.org)") == "a and [d](https://example.org)"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_notebooks_run(site: Path) -> None:
    """Run all notebooks at once: most of the time is that of starting a kernel."""
    books = {path: nbformat.read(site / file_of(path), 4) for path in pages()}
    assert len(books) >= 5

    async def run_all() -> None:
        await asyncio.gather(*map(run, books.values()))

    asyncio.run(run_all())
    for path, book in books.items():
        assert any(cell.get("outputs") for cell in book.cells), path


def test_failing_cells_are_reported() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        asyncio.run(run(book))


async def run(book: Any) -> None:
    await nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(DOCS)}}).async_execute()
