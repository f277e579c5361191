"""Typeset formulas as MathML when the pages are built: browsers display it without a script, a font or the network.

Checked by: tests/docs/test_extensions.py
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

FUNCTION = r"(?<!<msu[bp]>)(?<!<msubsup>)<mi>(?:ln|log|exp|sin|cos|tanh)</mi>"
SPACE = '<mspace width="0.167em" />'


def unknown_commands(tex: str) -> list[str]:
    """Return the commands, with their backslash, that latex2mathml does not know and would show as text."""
    return sorted(set(re.findall(r"\\(?:[A-Za-z]+|[^A-Za-z])", convert(tex).replace("&#x0005C;", "\\"))))


def spaced(html: str) -> str:
    """Separate functions such as ln from arguments and from factors before them, and ∼ from both sides, as in TeX."""
    html = html.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # latex2mathml takes \sim for a name
    html = re.sub(rf'({FUNCTION})(?!<mo stretchy="false">&#x00028;|<mspace|</)', rf"\1{SPACE}", html)
    return re.sub(rf"(</(?:mi|mn|msub|msup|msubsup|mfrac|mrow)>|&#x00029;</mo>)({FUNCTION})", rf"\1{SPACE}\2", html)


def mathml(tex: str, display: str, node: nodes.Node) -> str:
    """Convert TeX to MathML. Unknown commands cause a warning, which fails the build."""
    if unknown := unknown_commands(tex):
        logger.warning("formula: expected commands that latex2mathml knows, got %s", unknown, location=node)
    # Browsers ignore the attribute columnalign, so columns are aligned by a style sheet.
    return re.sub(r'columnalign="(right|left)[^"]*"', r'class="\1"', spaced(convert(tex, display=display)))


def visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), "inline", node))
    raise nodes.SkipNode


def visit_display(translator: Any, node: nodes.math_block) -> None:
    tex = node.astext().strip().replace("{align}", "{align*}")  # formulas are not numbered
    if r"\begin" not in tex and (r"\\" in tex or "&" in tex):
        tex = rf"\begin{{align*}}{tex}\end{{align*}}"
    # A formula that is wider than the page scrolls by itself; tabindex lets the keyboard reach it.
    translator.body.append(f'<div class="formula" tabindex="0">{mathml(tex, "block", node)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
