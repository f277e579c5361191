"""An anchor for every term of the glossary, and a link to it where a page first uses the term.

    - **mask A, mask B**: mask A hides …      the anchors term-mask-a and term-mask-b

The links are made when the pages are built, so a page need not name them. A link shows the entry when the pointer is on
it. Headings, code, formulas, claims and other links are left alone.

Checked by: tests/docs/test_extensions.py and tests/docs/test_pages.py
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from docs._ext.sources import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
ENTRY = re.compile(r"- \*\*(.+?)\*\*: (.*?)\.? \[[^]]*\]\([^)]*\)$", flags=re.MULTILINE)
WITHOUT = re.compile(r"glossary|gallery|writing|contributing|api/")  # pages without links
# Words that mean something else on a page: a verb, a reference value, the kernel of a convolution in PyTorch.
OTHER_MEANING = {"autoregressive/gated_pixelcnn": "flow", "checking": "reference", "interchange": "kernel"}
OPAQUE = (
    nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw,
    addnodes.pending_xref, addnodes.download_reference,
)  # fmt: skip


@cache
def entries() -> dict[str, str]:
    """Return the definition of every term."""
    found = ENTRY.findall(GLOSSARY.read_text(encoding="utf-8"))
    return {term: text.replace("\\", "") for terms, text in found for term in terms.split(", ")}


def anchor(term: str) -> str:
    return f"term-{nodes.make_id(term)}"


@cache
def pattern() -> re.Pattern[str]:
    """Return an expression that finds every term, with a small or capital first letter, in the singular or plural."""
    terms = sorted(entries(), key=len, reverse=True)
    each = (f"[{term[0].lower()}{term[0].upper()}]{re.escape(term[1:])}" for term in terms)
    return re.compile(rf"(?<![\w-])({'|'.join(each)})s?(?![\w-])")


def plain(text: str) -> str:
    """Return a text of the same length without line breaks and with straight apostrophes."""
    return text.replace("’", "'").replace("\n", " ")


def term_of(text: str) -> str:
    """Return the term that was found as `text`."""
    return text if text in entries() else text[0].swapcase() + text[1:]


def first_uses(text: str, seen: set[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and term of each use of a term that is not in `seen`, and add it there."""
    for match in pattern().finditer(plain(text)):
        if (term := term_of(match[1])) not in seen:
            seen.add(term)
            yield match.start(), match.end(), term


def is_opaque(node: nodes.Node) -> bool:
    """Return whether a node is in a heading, in code, in a claim or in another node that gets no links."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, OPAQUE) or "claim" in getattr(node, "attributes", {}).get("classes", []):
            return True
    return False


def join_lines(tree: nodes.document) -> None:
    """Join the texts of the lines of each paragraph, so that terms that are broken between lines are found."""
    for element in tree.findall(nodes.TextElement):
        joined = list[nodes.Node]()
        for child in element.children:
            if joined and isinstance(child, nodes.Text) and isinstance(joined[-1], nodes.Text):
                child = nodes.Text(joined.pop().astext() + child.astext())
            joined.append(child)
        element[:] = joined


def link_terms(app: Sphinx, tree: nodes.document) -> None:
    """Link the first use of each term of a page."""
    document = app.env.docname
    if WITHOUT.search(document):
        return
    join_lines(tree)
    seen = {OTHER_MEANING.get(document, "")}
    app.env.note_dependency(str(GLOSSARY))
    address = app.builder.get_relative_uri(document, "glossary")
    for node in [each for each in tree.findall(nodes.Text) if not is_opaque(each)]:
        text, parts, end = node.astext(), list[nodes.Node](), 0
        for start, stop, term in first_uses(text, seen):
            parts.append(nodes.Text(text[end:start]))
            parts.append(
                nodes.reference(
                    "", text[start:stop], refuri=f"{address}#{anchor(term)}", internal=True, classes=["term"],
                    reftitle=entries()[term],
                )
            )  # fmt: skip
            end = stop
        if parts:
            node.parent.replace(node, [*parts, nodes.Text(text[end:])])


def add_anchors(app: Sphinx, tree: nodes.document) -> None:
    """Give every entry an anchor per term, which the search finds, too."""
    if app.env.docname != "glossary":
        return
    for item in tree.findall(nodes.list_item):
        for term in plain(next(iter(item.findall(nodes.strong))).astext()).split(", "):
            item["ids"].append(anchor(term))
            app.env.domains.standard_domain.note_object("term", term, anchor(term))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", link_terms)
    app.connect("doctree-read", add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
