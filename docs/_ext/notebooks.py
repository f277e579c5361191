"""Every page with code cells is also a Jupyter notebook, which the page links to.

The notebook has the text, formulas and code cells of the page, and the code that it includes by name. Pictures are
embedded, so the notebook is a single file. Drawings stay on the page.

Checked by: tests/docs/test_notebooks.py
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

from docs._ext.sources import ROOT, lines_of
from docs.claims import claims

DOCS = ROOT / "docs"
HEADER = re.compile(r"\A---\n.*?\n---\n", flags=re.DOTALL)  # of a page, or the options of a code cell
BLOCK = re.compile(r"^```\{([\w-]+)\}(.*)\n((?:.*\n)*?)^```$", flags=re.MULTILINE)
OPTION = re.compile(r"^:([\w-]+):(.*)\n", flags=re.MULTILINE)
INSTALL = 'Run this notebook where tinygen is installed: `pip install -e ".[examples]" jupyter` in a checkout.'


def has_cells(path: Path) -> bool:
    """Return whether a page has code cells."""
    return "```{code-cell}" in path.read_text(encoding="utf-8")


def pages() -> list[Path]:
    """Return the pages that are notebooks too."""
    return [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts and has_cells(path)]


def file_of(path: Path) -> str:
    """Return the name of a page's notebook in the site."""
    return f"notebooks/{'-'.join(path.relative_to(DOCS).with_suffix('').parts)}.ipynb"


def block(page: Path, name: str, argument: str, body: str) -> str:
    """Return a directive of a page as plain Markdown."""
    options = {key: value.strip() for key, value in OPTION.findall(body)}
    text = OPTION.sub("", body).strip()
    if name == "source":
        file, _, definition = argument.partition(":")
        path, definition = ROOT / file.strip(), definition.strip()
        code = lines_of(path, definition, "no-docstring" not in options)[0] if definition else path.read_text("utf-8")
        return f"`{file.strip()}`:\n\n```python\n{code}\n```"
    if name == "figure":
        content = base64.b64encode((page.parent / argument).read_bytes()).decode()
        return f"![{options['alt']}](data:image/png;base64,{content})\n\n{text}"
    if name == "claim":
        claim = claims()[argument]
        effects = "".join(f"\n- {effect}" for effect in claim.effects)
        return f"**{claim.sentence}** *{claim.verdict}* {claim.remark}\n{effects}\n\n`{claim.command}` reproduces it."
    if name in ("drawing", "toctree"):
        return "*(a drawing on the page)*" * (name == "drawing")
    raise ValueError(
        f"{page}: expected a directive that notebooks know, got {name!r}; add it to docs/_ext/notebooks.py"
    )


def cells(page: Path) -> Iterator[Any]:
    """Yield the cells of a page: text between code cells is one cell."""
    source, text, end = HEADER.sub("", page.read_text(encoding="utf-8")), "", 0
    for match in BLOCK.finditer(source):
        text += source[end : match.start()]
        end = match.end()
        if match[1] != "code-cell":
            text += block(page, match[1], match[2].strip(), match[3])
            continue
        yield nbformat.v4.new_markdown_cell(markdown(text))
        yield nbformat.v4.new_code_cell(OPTION.sub("", HEADER.sub("", match[3])).strip())
        text = ""
    yield nbformat.v4.new_markdown_cell(markdown(text + source[end:]))


def markdown(text: str) -> str:
    """Return text without links to other pages, and with aligned formulas that Jupyter understands."""
    text = re.sub(r"!?\[([^\]]+)\]\((?!https?:|data:)[^)]*\)", r"\1", text)

    def align(match: re.Match[str]) -> str:
        tex = match[1].strip()
        aligned = "&" in tex and r"\begin" not in tex
        return f"$$\n\\begin{{aligned}}\n{tex}\n\\end{{aligned}}\n$$" if aligned else match[0]

    return re.sub(r"\$\$(.*?)\$\$", align, text, flags=re.DOTALL).strip()


def notebook(page: Path) -> Any:
    """Return a page as a notebook."""
    first, *rest = cells(page)
    title, _, text = first.source.partition("\n")
    first.source = f"{title}\n\n{INSTALL}\n{text}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    found = nbformat.v4.new_notebook(cells=[first, *rest], metadata=kernel)
    for i, cell in enumerate(found.cells):
        cell["id"] = f"cell-{i}"  # not random, so that equal pages give equal files
    nbformat.validate(found)
    return found


def add_link(app: Sphinx, tree: nodes.document) -> None:
    """Link the notebook of a page below its title."""
    page = Path(app.env.doc2path(app.env.docname))
    if page.suffix == ".md" and has_cells(page):
        depth = app.env.docname.count("/")
        link = nodes.reference("", "download it", refuri="../" * depth + file_of(page), internal=True)
        note = nodes.paragraph("", "This page is also a notebook: ", link, nodes.Text("."), classes=["notebook"])
        section = next(iter(tree.findall(nodes.section)))
        section.insert(1, note)


def write(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        for page in pages():
            target = Path(app.outdir) / file_of(page)
            target.parent.mkdir(exist_ok=True)
            nbformat.write(notebook(page), target)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", add_link)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
