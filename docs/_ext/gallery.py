"""The directive `gallery`: every example with its claim, verdict, run time and pictures."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext.sources import ROOT, link
from docs.claims import METRICS, Claim, claims


class Gallery(SphinxDirective):
    """Show all examples, a section each."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(METRICS))
        return [self.section(claim) for claim in claims().values()]

    def section(self, claim: Claim) -> nodes.section:
        file = f"examples/{claim.name}.py"
        section = nodes.section("", nodes.title(text=claim.tested_as), ids=[f"example-{claim.name.replace('_', '-')}"])
        section["names"] = [claim.tested_as]
        page = self.env.app.builder.get_relative_uri(self.env.docname, claim.page)
        minutes = f", {claim.found['cpu_seconds'] / 60:.1f} minutes of CPU time. "
        address = link(self.env.app, self.env.docname, ROOT / file)
        section += nodes.paragraph(
            "", "", nodes.reference("", "", nodes.literal(text=file), refuri=address, internal=True), nodes.Text(": "),
            nodes.inline(text=claim.verdict, classes=["verdict"]), nodes.Text(minutes),
            nodes.reference("", "Derivation and claim", refuri=page, internal=True),
            classes=[f"claim-{claim.verdict}"],
        )  # fmt: skip
        section += (pictures := nodes.container(classes=["pictures"]))
        for name in claim.found["pictures"]:
            kind = name.removeprefix(f"{claim.name}-").removesuffix(".png").replace("_", " ")
            image = nodes.image(uri=f"figures/{name}", alt=f"{kind}, a picture of {file}")
            pictures += nodes.reference("", "", image, refuri=f"_images/{name}", internal=True)
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
