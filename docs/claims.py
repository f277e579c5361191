"""The claims of the course, and their table in docs/RESULTS.md, which `python -m docs.claims` renders.

docs/claims.toml has the sentence of the notes, the page and the tests of each claim. Verdicts and numbers are those
that the example wrote (docs/figures/metrics.json).

Checked by: tests/docs/test_claims.py
"""

import ast
import json
import re
import statistics
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
METRICS = ROOT / "docs" / "figures" / "metrics.json"
TABLE = ROOT / "docs" / "RESULTS.md"
MARKED = re.compile(r"(<!-- claims -->\n).*?(<!-- /claims -->)", flags=re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """An entry of docs/claims.toml, with what the example found."""

    name: str
    sentence: str
    page: str
    tests: list[str]
    found: dict[str, Any]
    results: tuple[str, ...] = ()
    remark: str = ""

    @property
    def command(self) -> str:
        return f"python examples/{self.name}.py"

    @property
    def verdict(self) -> str:
        return str(self.found["verdict"])

    @property
    def tested_as(self) -> str:
        """The claim as the example tests it: the first paragraph of its docstring."""
        text = (ROOT / "examples" / f"{self.name}.py").read_text(encoding="utf-8")
        claim = " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].removeprefix("Claim: ").split())
        return claim[:1].upper() + claim[1:]

    @property
    def effects(self) -> list[str]:
        """The mean of each effect, its interval and the claimed region."""
        return typeset(self.found["effects"])

    @property
    def second_run(self) -> str:
        """The verdict and effects of a run with other seeds, or nothing if there was none."""
        if "second_run" not in self.found:
            return ""
        second = self.found["second_run"]
        return f"{second['verdict']} ({second['conditions']}): {'; '.join(typeset(second['effects']))}"

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The results of each setting, lists with a value per seed."""
        return {name: found for name, found in self.found.items() if isinstance(found, dict) and "seeds" in found}

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for found in self.settings.values() for seed in found["seeds"]})

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the chosen results of each setting: the mean over the seeds ± one standard deviation.

        The name of a setting is left out if it is the only one and has several results.
        """
        for name, value in self.found["baselines"].items():
            if self.results:
                yield name, f"{value:.4g}"
        for setting, found in self.settings.items():
            prefix = f"{setting}, " if len(self.settings) > 1 or len(self.results) == 1 else ""
            for result in self.results:
                values = found[result]
                spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
                yield f"{prefix}{result.replace('_', ' ')}", f"{statistics.mean(values):.4g}{spread}"


def typeset(effects: list[str]) -> list[str]:
    """Replace hyphens before numbers by minus signs."""
    return [re.sub(r"(?<![\w.])-(?=\d)", "−", effect) for effect in effects]


@cache
def claims() -> dict[str, Claim]:
    """Return all claims by the name of their example."""
    found = json.loads(METRICS.read_text(encoding="utf-8"))
    entries = tomllib.loads((ROOT / "docs" / "claims.toml").read_text(encoding="utf-8"))
    return {name: Claim(name, found=found[name], **entry) for name, entry in entries.items()}


def table() -> Iterator[str]:
    """Yield the lines of the table in docs/RESULTS.md."""
    yield "| claim | example | verdict | effects: mean (interval; claimed region) |"
    yield "|---|---|---|---|"
    for claim in claims().values():
        verdict = claim.verdict + f", {claim.remark}" * bool(claim.remark)
        example = f"[{claim.name}](../examples/{claim.name}.py)"
        again = [f"Second run: {claim.second_run}"] if claim.second_run else []
        cells = [claim.sentence, example, verdict, "<br>".join(claim.effects + again)]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def render(text: str) -> str:
    """Return a text with the table of claims between its markers."""
    return MARKED.sub(lambda match: match[1] + "".join(f"{line}\n" for line in table()) + match[2], text)


if __name__ == "__main__":
    TABLE.write_text(render(TABLE.read_text(encoding="utf-8")), encoding="utf-8")
