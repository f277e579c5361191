"""The directive `drawing`: one of docs/drawings.py as inline SVG, with a caption per frame."""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs import drawings


class DrawingDirective(SphinxDirective):
    """Show the frames of a drawing side by side."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in drawings.DRAWINGS:
            raise self.error(f"drawing: expected one of {', '.join(drawings.DRAWINGS)}, got {name!r}")
        self.env.note_dependency(drawings.__file__)
        frames = [
            f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
            for caption, svg in drawings.DRAWINGS[name]()
        ]
        return [nodes.raw("", f'<div class="drawings {name}">{"".join(frames)}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("drawing", DrawingDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
