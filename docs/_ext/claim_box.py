"""The directive `claim`: a box with what an example found about a claim of the course.

    ```{claim} made
    ```

shows the sentence of the notes, the verdict, the effects with their intervals, the results over the seeds, the command
that reproduces them, and the test of the code. See docs/claims.py for where the numbers come from.
"""

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext.sources import ROOT, lines_of, link
from docs.claims import METRICS, Claim, claims


def table(rows: Iterable[tuple[str, str]]) -> nodes.table:
    """Return a table with two columns and no head."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (60, 40)), cols=2)
    body = nodes.tbody()
    for row in rows:
        body += nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in row))
    group += body
    return nodes.table("", group, classes=["claim-results"])


class ClaimBox(SphinxDirective):
    """Show a claim."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in claims():
            raise self.error(f"claim: expected one of {', '.join(claims())}, got {name!r}")
        claim = claims()[name]
        for path in (METRICS, ROOT / "docs" / "claims.toml"):
            self.env.note_dependency(str(path))
        box = nodes.container(classes=["claim", f"claim-{claim.verdict}"])
        title = nodes.paragraph(classes=["claim-title"])
        title += [nodes.Text(claim.sentence + " "), nodes.inline(text=claim.verdict, classes=["verdict"])]
        title += nodes.Text(f" {claim.remark}" * bool(claim.remark))
        box += [nodes.target("", "", ids=[f"claim-{name.replace('_', '-')}"]), title]
        box += nodes.paragraph(text=f"Tested as: {claim.tested_as}")
        box += nodes.bullet_list("", *(nodes.list_item("", nodes.paragraph(text=each)) for each in claim.effects))
        if rows := list(claim.rows()):
            box += table(rows)
        if claim.second_run:
            box += nodes.paragraph(text=f"Second run: {claim.second_run}.")
        box += [self.command(claim), self.links(claim)]
        return [box]

    def command(self, claim: Claim) -> nodes.paragraph:
        """Return how to reproduce the claim."""
        found, seeds = claim.found, claim.seeds
        runs = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
        minutes = found["cpu_seconds"] / 60
        remark = f" ({runs}, {found['steps']} steps, {minutes:.1f} minutes of CPU time, commit {found['commit']})"
        return nodes.paragraph("", "", nodes.literal(text=claim.command), nodes.Text(remark))

    def links(self, claim: Claim) -> nodes.paragraph:
        """Return links to the example, the tests and the page that explains verdicts and numbers."""
        links = nodes.paragraph("", "Example: ")
        example = ROOT / "examples" / f"{claim.name}.py"
        links += self.reference(f"examples/{claim.name}.py", link(self.env.app, self.env.docname, example))
        links += nodes.Text(". Test: ")
        for i, test in enumerate(claim.tests):
            file, _, function = test.partition(": ")
            address = link(self.env.app, self.env.docname, ROOT / file, lines_of(ROOT / file, function)[1])
            links += [nodes.Text(", " * (i > 0)), self.reference(function, address)]
        results = self.env.app.builder.get_relative_uri(self.env.docname, "RESULTS")
        links += [
            nodes.Text(". Verdicts and intervals: "),
            nodes.reference("", "Results", refuri=results, internal=True),
        ]
        links += nodes.Text(".")
        return links

    @staticmethod
    def reference(text: str, address: str) -> nodes.reference:
        return nodes.reference("", "", nodes.literal(text=text), refuri=address, internal=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("claim", ClaimBox)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
