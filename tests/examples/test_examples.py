"""Every example runs from any working directory, writes its numbers and pictures, and says what it claims."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from common.claims import Effect
from common.report import Report

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
RECORDED = json.loads((EXAMPLES.parent / "docs" / "figures" / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_quick_run_writes_numbers_and_pictures_without_a_verdict(script: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(script), "--quick", "--seed", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "out" / "quick" / script.stem
    metrics = json.loads((folder / "metrics.json").read_text())
    results = {name: values for name, values in metrics.items() if isinstance(values, dict) and "seeds" in values}
    assert results
    assert all(values["seeds"] == [1, 2] for values in results.values())
    assert metrics["quick"]
    assert "verdict" not in metrics
    assert not re.search("reproduced|refuted|undecided", done.stdout)
    assert "--quick: means nothing" in done.stdout
    assert (folder / "table.txt").read_text().strip() in done.stdout
    assert list(folder.glob("*.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_header_and_index_state_the_claim_and_the_duration(script: Path) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    claim = docstring.splitlines()[0].removeprefix("Claim: ").replace("|", "\\|")
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert docstring.startswith("Claim: ")
    assert f"[{script.name}]({script.name}) | {claim[0].upper()}{claim[1:]} |" in index
    assert re.search(r"^Time: +(about \d+ minutes?|less than a minute) on two cores", docstring, re.M)
    assert f"python examples/{script.name} [" in docstring


def test_help_lists_the_common_arguments() -> None:
    command = [sys.executable, str(EXAMPLES / "made.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for argument in ("--seed", "--seeds", "--steps", "--only", "--out", "--quick"):
        assert argument in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_claim_has_all_effects_before_anything_is_trained(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the verdict on a part of the claim would be that on all of it."""
    names: set[str] = set()

    def stop(report: Report, *effects: Effect, also: object = ()) -> None:
        names.update(effect.name for effect in effects)
        raise StopIteration

    monkeypatch.setattr(Report, "decide", stop)
    report = Report(argparse.Namespace(quick=False, seed=0, out=Path(), doc="Claim: none.\n"))
    with pytest.raises(StopIteration):
        importlib.import_module(script.stem).show(report)
    assert names >= {effect.split(": ")[0] for effect in RECORDED[script.stem]["effects"]}
