"""Every example runs from any working directory and writes its metrics and a figure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_quick_run_writes_metrics_and_a_figure(script: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(script), "--quick", "--seed", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics
    for name, value in metrics.items():
        assert isinstance(value, int | float), name
        assert name in done.stdout
    assert list((tmp_path / "out").glob("*.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_lists_the_common_arguments(script: Path) -> None:
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    for argument in ("--seed", "--out", "--quick"):
        assert argument in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_index_states_the_claim_of_every_example(script: Path) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    claim = docstring.splitlines()[0].removeprefix("Claim: ").replace("|", "\\|")
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert docstring.startswith("Claim: ")
    assert f"[{script.name}]({script.name}) | {claim[0].upper()}{claim[1:]} |" in index
