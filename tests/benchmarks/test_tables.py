"""The tables in the documents are those that the measured results render."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import record, tables

FACTS = {
    "commit": "abc",
    "date": "2026-01-01",
    "threads": 2,
    "cpus": 2,
    "emulated": False,
    "other processes": 0.01,
    "versions": {"tinygen": "1", "numpy": "2.0"},
}
STEP = ["training step, ms", "MLP", {"tinygen": 1.0, "PyTorch": 2.0}]


def results(folder: Path, **comparisons: object) -> list[tables.Column]:
    content = {
        "cpu": "CPU",
        "comparisons": {"AVX2": {name: {**FACTS, "rows": rows} for name, rows in comparisons.items()}},
    }
    (folder / "cpu.json").write_text(json.dumps(content), encoding="utf-8")
    return tables.columns(folder)


@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: path.name)
def test_documents_show_the_measured_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert tables.render(text, tables.columns()) == text, "run python -m benchmarks.tables"
    assert tables.MARKED.search(text)


def test_a_changed_number_in_a_document_is_replaced(tmp_path: Path) -> None:
    found = results(tmp_path, mlp=[STEP])
    text = "before\n<!-- table: steps -->\n<!-- /table -->\nafter\n"
    rendered = tables.render(text, found)
    assert "| MLP | 1.00 | 0.50 | – | – | – |" in rendered
    assert tables.render(rendered.replace("0.50", "0.40"), found) == rendered
    assert rendered.startswith("before\n")
    assert rendered.endswith("<!-- /table -->\nafter\n")


def test_unknown_tables_are_reported(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nothing"):
        tables.render("<!-- table: nothing -->\n<!-- /table -->", results(tmp_path, mlp=[STEP]))


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_renders_without_results(name: str, tmp_path: Path) -> None:
    lines = list(tables.TABLES[name]([]))
    assert all("None" not in text for text in lines)
    assert f"<!-- table: {name} -->" in "".join(path.read_text(encoding="utf-8") for path in tables.DOCUMENTS)


def test_avx_512_comes_first_and_emulated_comparisons_have_a_column_of_their_own(tmp_path: Path) -> None:
    runs = {"mlp": {**FACTS, "emulated": True, "rows": []}, "vae": {**FACTS, "rows": []}}
    content = {"cpu": "AMD EPYC family 1 model 2", "comparisons": {"AVX2": runs, "AVX-512": {"vae": runs["vae"]}}}
    (tmp_path / "cpu.json").write_text(json.dumps(content), encoding="utf-8")
    found = {column.name: [*column.comparisons] for column in tables.columns(tmp_path)}
    assert list(found.items()) == [
        ("AMD EPYC, AVX-512", ["vae"]), ("AMD EPYC, AVX2", ["vae"]), ("AMD EPYC, AVX2, emulated", ["mlp"]),
    ]  # fmt: skip


def test_results_are_complete() -> None:
    for path in record.RESULTS.glob("*.json"):
        for comparisons in json.loads(path.read_text(encoding="utf-8"))["comparisons"].values():
            for comparison in comparisons.values():
                assert comparison.keys() >= FACTS.keys() | {"seconds", "rows"}
                assert comparison["rows"]


def test_figures_are_drawn_from_the_first_column_with_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    times = {"1 thread": 9.0, "2 threads": 5.0, "busy / 1 thread": 0.9}
    rows = [["step by threads, ms", f"MLP, {library}", times] for library in ("tinygen", "PyTorch")]
    results(tmp_path, scaling=rows)
    first = {"cpu": "A", "comparisons": {"AVX-512": {"mlp": {**FACTS, "rows": [STEP]}}}}
    (tmp_path / "a.json").write_text(json.dumps(first), encoding="utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "DOCUMENTS", [])
    (tmp_path / "docs").mkdir()
    tables.write(tmp_path)
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["scaling.png"]


def test_rows_above_their_limits_are_listed_with_their_rates(tmp_path: Path) -> None:
    rates = {"PyTorch": 2.0, "GFLOP/s": 50.0, "PyTorch GFLOP/s": 25.0}
    gated = "Gated PixelCNN, 8 layers of 32, 64 images of 28×28"
    steps = [
        ["training step, ms", name, {"tinygen": ms, **rates}]
        for name, ms in (("A", 1.88), ("B", 1.92), (gated, 1.52), ("C", 3.0))
    ]
    limit = ["limit", "2 threads", {"GFLOP/s": 200.0, "GB/s": 30.0}]
    samples = [["sampling, ms", "D", {"tinygen": 1.99, **rates}], ["sampling, ms", "E", {"tinygen": 1.0}]]
    found = results(tmp_path, mlp=steps, flows=samples, layers=[limit])
    _, _, *lines = tables.above(found)
    assert [text.split(" | ")[0] for text in lines] == [f"| training step: {name}" for name in ("B", gated, "C")]
    assert lines[0].endswith("| 0.96 | 50.0 / 25.0 | 25% / 12% |")
