"""Every claim has an example, a page and a test; the table of claims and the pictures are those of the examples."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from test_docs import definitions

from docs.claims import METRICS, TABLE, claims, render

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def test_every_example_has_a_claim() -> None:
    assert sorted(claims()) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_claim_has_a_page_and_tests_that_exist(name: str) -> None:
    claim = claims()[name]
    shown = [
        path.relative_to(DOCS).with_suffix("").as_posix()
        for path in DOCS.rglob("*.md")
        if re.search(rf"^```{{claim}} {name}$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        and path.name != "writing.md"
    ]
    assert shown == [claim.page]
    assert claim.tests
    for test in claim.tests:
        file, _, function = test.partition(": ")
        assert function in definitions(ROOT / file)


@pytest.mark.parametrize("name", EXAMPLES)
def test_claim_was_decided_by_a_full_run(name: str) -> None:
    claim = claims()[name]
    assert not claim.found["quick"]
    assert claim.verdict in ("reproduced", "refuted", "undecided")
    assert claim.effects
    assert claim.tested_as
    for setting in claim.settings.values():
        for result in claim.results:
            assert len(setting[result]) == len(setting["seeds"])
    # A verdict over fewer seeds than the examples train by default is marked.
    assert len(claim.seeds) >= 5 or "one seed" in claim.remark


def test_table_of_results_is_rendered_from_the_claims() -> None:
    text = TABLE.read_text(encoding="utf-8")
    assert text.count("<!-- claims -->") == 1
    assert render(text) == text, "run `python -m docs.claims`"
    row = next(line for line in text.splitlines() if "/made.py" in line)
    assert render(text.replace(row, row.replace("0.85", "0.86"))) == text


def test_second_run_is_shown_with_its_verdict() -> None:
    found = {
        **claims()["made"].found,
        "second_run": {"verdict": "refuted", "conditions": "seed 5", "effects": ["-1 nats"]},
    }
    assert dataclasses.replace(claims()["made"], found=found).second_run == "refuted (seed 5): −1 nats"
    seconds = {name: claim.found["second_run"] for name, claim in claims().items() if "second_run" in claim.found}
    assert seconds, "there is no second run"
    text = TABLE.read_text(encoding="utf-8")
    assert all(f"Second run: {second['verdict']} ({second['conditions']})" in text for second in seconds.values())


def test_pictures_are_small_and_belong_to_examples() -> None:
    found = {name for entry in json.loads(METRICS.read_text(encoding="utf-8")).values() for name in entry["pictures"]}
    sizes = {path.name: path.stat().st_size for path in (DOCS / "figures").glob("*.png")}
    assert sizes.keys() == found
    assert max(sizes.values()) <= 150_000
    assert sum(sizes.values()) <= 6_000_000
