"""Render the tables of the documents from the JSON files in `benchmarks/results/`.

    python -m benchmarks.tables

Each table is between the markers `<!-- table: NAME -->` and `<!-- /table -->`, and NAME is a function of this file. It
has columns for every CPU and instruction set with results. A ratio below 1 means that tinygen is faster. A number that
has not been measured is a dash.

Checked by: tests/benchmarks/test_tables.py
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import growth as growth_of_time
from benchmarks import scaling
from benchmarks.record import RESULTS, line, shown
from tinygen.files import write_atomically

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*(ROOT / "docs" / name for name in ("RESULTS.md", "distributed.md")), ROOT / "README.md"]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- /table -->)", flags=re.DOTALL)
MODULES = ("mlp", "made", "pixel_rnn", "pixelcnn", "wavenet", "flows", "vae", "gan")

Values = dict[str, Any]


class Column(NamedTuple):
    """The results of one CPU for one instruction set, whose `name` says whether it was emulated."""

    name: str
    cpu: str
    comparisons: dict[str, Any]

    def values(self, table: str, modules: Iterable[str]) -> dict[str, Values]:
        """Return the values of each row of a table, by label."""
        found = (row for module in modules for row in self.comparisons.get(module, {"rows": []})["rows"])
        return {label: values for name, label, values in found if name == table}


def columns(folder: Path = RESULTS) -> list[Column]:
    """Return a column for every instruction set of every CPU, AVX-512 first and emulated ones last."""
    found = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        cpu = content["cpu"].split(" family ")[0]
        for isa, comparisons in content["comparisons"].items():
            for suffix in ("", ", emulated"):
                runs = {module: run for module, run in comparisons.items() if run["emulated"] == bool(suffix)}
                if runs:
                    found.append(Column(f"{cpu}, {isa}{suffix}", content["cpu"], runs))
    return sorted(found, key=lambda column: ("AVX-512" not in column.name, "emulated" in column.name))


def number(values: Values, key: str, suffix: str = "") -> str:
    """Format one value; a dash if it was not measured."""
    return shown(values[key]) + suffix if key in values else "–"


def ratio(values: Values, ours: str, theirs: str) -> str:
    """Format the ratio of two values; a dash if one was not measured."""
    return f"{values[ours] / values[theirs]:.2f}" if ours in values and theirs in values else "–"


def table(
    title: str, found: list[Column], name: str, modules: Sequence[str], cells: dict[str, Callable[[Values], str]]
) -> Iterator[str]:
    """Yield the lines of a table: a row per label, and per instruction set with results a column per cell function."""
    measured = [(column.name, values) for column in found if (values := column.values(name, modules))]
    if not measured:
        yield "Not measured."
        return
    yield from heading(title, (f"{column}: {h}" if not i else h for column, _ in measured for i, h in enumerate(cells)))
    for label in dict.fromkeys(label for _, values in measured for label in values):
        yield line([label, *(cell(values.get(label, {})) for _, values in measured for cell in cells.values())])


def heading(title: str, heads: Iterable[str]) -> Iterator[str]:
    """Yield the first two lines of a table."""
    titles = [title, *heads]
    yield line(titles)
    yield "|---" * len(titles) + "|"


def steps(found: list[Column]) -> Iterator[str]:
    """Training steps."""
    cells: dict[str, Callable[[Values], str]] = {
        "ms": lambda v: number(v, "tinygen"),
        "÷ PyTorch": lambda v: ratio(v, "tinygen", "PyTorch"),
        "in shards ÷ PyTorch": lambda v: ratio(v, "tinygen, shards", "PyTorch"),
        "÷ JAX": lambda v: ratio(v, "tinygen", "JAX"),
        "JAX compiles, s": lambda v: number(v, "JAX compile, s"),
    }
    yield from table("training step", found, "training step, ms", MODULES, cells)


def sampling(found: list[Column]) -> Iterator[str]:
    """Sampling."""
    cells: dict[str, Callable[[Values], str]] = {
        "ms": lambda v: number(v, "tinygen"),
        "÷ PyTorch": lambda v: ratio(v, "tinygen", "PyTorch"),
        "than naive PyTorch": lambda v: number(v, "naive / tinygen", " × faster"),
    }
    yield from table("sampling", found, "sampling, ms", MODULES, cells)


def pair(values: Values, key: str) -> str:
    """Format tinygen's and PyTorch's value of one quantity."""
    return f"{number(values, key)} / {number(values, f'PyTorch {key}')}"


def rate(values: Values) -> str:
    """Format the rates of tinygen and PyTorch."""
    unit = "GB/s" if "GB/s" in values else "GFLOP/s"
    return f"{pair(values, unit)} {unit}" if unit in values else "–"


# Ratios to PyTorch that training steps and samplers should not exceed, and exceptions by label
LIMITS = {"training step": 0.95, "sampling": 1.0}
LOWER = {"Gated PixelCNN, 8 layers of 32, 64 images of 28×28": 0.75}


def above(found: list[Column]) -> Iterator[str]:
    """The training steps and samplers above their limits in one of the columns, with their rates."""
    measured = [column for column in found if column.values("training step, ms", MODULES)]
    heads = ("÷ PyTorch", "GFLOP/s: tinygen / PyTorch", "share of the limit")
    yield from heading("", (f"{column.name}: {h}" if not i else h for column in measured for i, h in enumerate(heads)))
    for kind, limit in LIMITS.items():
        by_column = [column.values(f"{kind}, ms", MODULES) for column in measured]
        for label in dict.fromkeys(label for values in by_column for label in values):
            rows = [values.get(label, {}) for values in by_column]
            if any(row["tinygen"] / row["PyTorch"] > LOWER.get(label, limit) for row in rows if "PyTorch" in row):
                cells = [text for row, column in zip(rows, measured, strict=True) for text in _rate_cells(row, column)]
                yield line([f"{kind}: {label}", *cells])


def _rate_cells(values: Values, column: Column) -> list[str]:
    shares = "–"
    limits = list(column.values("limit", ["layers"]).values())
    if limits and "GFLOP/s" in values:
        keys = "GFLOP/s", "PyTorch GFLOP/s"
        shares = " / ".join(f"{values[key] / limits[-1]['GFLOP/s']:.0%}" for key in keys)
    return [ratio(values, "tinygen", "PyTorch"), pair(values, "GFLOP/s") if "GFLOP/s" in values else "–", shares]


def kernels(found: list[Column]) -> Iterator[str]:
    """Convolutions, products and fused kernels, below the limits that were measured in the same run."""
    for column in found:
        for label, values in column.values("limit", ["layers"]).items():
            gflops, copied = number(values, "GFLOP/s"), number(values, "GB/s")
            yield f"Limit of {label}, {column.name}: {gflops} GFLOP/s of multiply-adds, {copied} GB/s of copying."
    yield ""
    cells: dict[str, Callable[[Values], str]] = {
        "ms": lambda v: number(v, "tinygen"),
        "÷ PyTorch": lambda v: ratio(v, "tinygen", "PyTorch"),
        "rate: tinygen / PyTorch": rate,
        "error, ulps": lambda v: pair(v, "ulps") if v else "–",
    }
    yield from table("kernel", found, "kernel, ms", ["layers", "fused"], cells)


def memory(found: list[Column]) -> Iterator[str]:
    """Memory of training steps."""
    cells: dict[str, Callable[[Values], str]] = {
        "MiB": lambda v: number(v, "tinygen"),
        "in shards": lambda v: number(v, "tinygen, shards"),
        "PyTorch": lambda v: number(v, "PyTorch"),
        "÷ PyTorch": lambda v: number(v, "ratio"),
    }
    yield from table("memory of a training step", found, "memory, MiB", ["memory"], cells)


def growth(found: list[Column]) -> Iterator[str]:
    """Exponents of the time against a size, over the range of sizes."""

    def sizes(values: Values) -> str:
        measured = [key.removeprefix("ms at ") for key in values if key.startswith("ms at ")]
        return f"{measured[0]} to {measured[-1]}" if measured else "–"

    cells: dict[str, Callable[[Values], str]] = {
        "sizes": sizes,
        "fitted": lambda v: number(v, "fitted"),
        "expected": lambda v: number(v, "expected"),
    }
    yield from table("exponent of the time", found, "growth", ["growth"], cells)


def verbatim(title: str, name: str, module: str) -> Callable[[list[Column]], Iterator[str]]:
    """Return the renderer of a table whose columns are those of its rows."""

    def render(found: list[Column]) -> Iterator[str]:
        keys = dict.fromkeys(k for c in found for values in c.values(name, [module]).values() for k in values)
        cells: dict[str, Callable[[Values], str]] = {key: partial(number, key=key) for key in keys}
        yield from table(title, found, name, [module], cells)

    return render


README_ROWS = {
    "training step": [
        "Gated PixelCNN, 8 layers of 32, 64 images of 28×28",
        "PixelCNN, 8 layers of 32, 64 images of 28×28",
        "Gated PixelCNN, 5 layers of 32, 64 images of 8×8",
        "MLP, three 64×64 layers, tanh, batch 256",
        "VAE, batch 100",
        "RealNVP on 28×28, batch 32",
    ],
    "sampling": [
        "Gated PixelCNN, 8 layers of 32, 16 images of 28×28",
        "PixelCNN, 8 layers of 32, 16 images of 28×28",
        "WaveNet, 10 layers of 32, 1000 steps, batch 1",
    ],
}


def summary(found: list[Column]) -> Iterator[str]:
    """A few rows of `steps` and `sampling` for the README."""
    found = [column for column in found if column.values("training step, ms", MODULES)]
    yield from heading("", (f"{column.name}: {head}" for column in found for head in ("ms", "÷ PyTorch")))
    for kind, labels in README_ROWS.items():
        for label in labels:
            cells = []
            for column in found:
                values = column.values(f"{kind}, ms", MODULES).get(label, {})
                cells += [number(values, "tinygen"), ratio(values, "tinygen", "PyTorch")]
            yield line([f"{kind}: {label}", *cells])


def conditions(found: list[Column]) -> Iterator[str]:
    """CPU, threads, versions, dates and commits of the results."""
    for column in found:
        runs = column.comparisons.values()
        dates = sorted({run["date"] for run in runs})
        commits = list(dict.fromkeys(run["commit"] for run in runs))
        versions = dict.fromkeys(f"{k} {v}" for run in runs for k, v in run["versions"].items() if k != "tinygen")
        threads = " and ".join(str(n) for n in sorted({run["threads"] for run in runs}))
        others = max(run["other processes"] for run in runs)
        longest = max(run.get("round trip, ns", 0) for run in runs)
        trip = f"; round trips between two threads took up to {shown(longest)} ns" if longest else ""
        yield (
            f"- {column.name}: {column.cpu}, {threads} threads; {', '.join(versions)}; commit {', '.join(commits)}, "
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
            f"up to {others:.0%} of the CPU time went to other processes{trip}"
        )


TABLES: dict[str, Callable[[list[Column]], Iterator[str]]] = {
    "steps": steps,
    "sampling": sampling,
    "above": above,
    "kernels": kernels,
    "memory": memory,
    "summary": summary,
    "conditions": conditions,
    "libraries": verbatim("library", "library", "instruction_sets"),
    "scaling": verbatim("training step, ms", "step by threads, ms", "scaling"),
    "growth": growth,
    "allocator": verbatim("forward and backward, ms", "forward and backward, ms", "allocator"),
    "imports": verbatim("import, s", "import, s", "first_run"),
    "first_run": verbatim("first run, s", "first run, s", "first_run"),
    "exchange_constants": verbatim("network", "constants of an exchange", "distributed"),
    "exchange": verbatim("exchange, ms", "exchange, ms", "distributed"),
    "ranks": verbatim("training step, ms", "steps on ranks, ms", "distributed"),
    "ranks_predicted": verbatim("training step, ms", "prediction for 64 ranks", "distributed"),
}

# The table and comparison that a figure shows, of the first column that has it.
FIGURES = [("growth", "growth", growth_of_time.figure), ("step by threads, ms", "scaling", scaling.figure)]


def render(text: str, found: list[Column]) -> str:
    """Replace what is between the markers of each table. Raises KeyError if there is no table of that name."""

    def replace(match: re.Match[str]) -> str:
        lines = "".join(f"{text}\n" for text in TABLES[match[2]](found))
        return f"{match[1]}\n{lines}\n{match[4]}"

    return MARKED.sub(replace, text)


def write(folder: Path = RESULTS) -> None:
    """Render the tables of all documents, and draw the two figures."""
    found = columns(folder)
    for table_name, module, figure in FIGURES:
        if measured := [results for column in found if (results := column.values(table_name, [module]))]:
            figure(measured[0], ROOT / "docs" / f"{module}.png")
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if (rendered := render(text, found)) != text:
            write_atomically(path, rendered.encode())


if __name__ == "__main__":
    write()
