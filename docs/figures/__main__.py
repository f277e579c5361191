"""Write the pictures and results of the examples that the pages show.

    python -m docs.figures [NAME …] [--out out] [--only-collect --commit COMMIT] [--second-run CONDITIONS]

Runs `python examples/NAME.py --out OUT/NAME` for every example (finished trainings are not repeated), reduces its
pictures to at most 150 kB each, and writes them to docs/figures/NAME-PICTURE.png. Results go to
docs/figures/metrics.json: everything in the example's metrics.json, the names of the pictures, the seconds of CPU time,
the commit, and the hash of the code that trained. The pages and docs/RESULTS.md are rendered from there.

`--second-run` runs nothing. It adds the verdict and effects of outputs that were made with other seeds, under the given
conditions, to the results of the first run.

Checked by: tests/docs/test_claims.py
"""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

ROOT = Path(__file__).parent.parent.parent
FOLDER = Path(__file__).parent
METRICS = FOLDER / "metrics.json"
WIDTH, BYTES = 1500, 150_000  # of the largest picture: pixels, file size


def examples() -> list[str]:
    """Return the names of all examples."""
    return sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def compress(path: Path) -> bytes:
    """Return a picture as PNG with a palette, in the largest size that fits into BYTES.

    Raises: ValueError if it does not fit at a third of its size, which would be unreadable.
    """
    with Image.open(path) as file:
        picture = file.convert("RGB")
    largest = min(1.0, WIDTH / picture.width)
    red, green, blue = picture.split()
    grey = max(ImageChops.difference(red, each).getextrema()[1] for each in (green, blue)) < 16
    palettes = (256, 64, 16) if grey else (256, 64)  # fewer colours would show steps in densities
    for factor in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.33):
        size = tuple(round(factor * largest * side) for side in picture.size)
        resized = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        for colours in palettes:
            content = io.BytesIO()
            resized.quantize(colours, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
            if content.tell() <= BYTES:
                return content.getvalue()
    raise ValueError(f"{path}: expected a picture that fits into {BYTES} bytes; draw fewer pixels or panels")


def collect(name: str, folder: Path, commit: str) -> dict[str, Any]:
    """Write the pictures of one example, and return its results."""
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    settings = [value for value in found.values() if isinstance(value, dict) and "seeds" in value]
    for old in FOLDER.glob(f"{name}-*.png"):
        old.unlink()
    pictures = []
    for path in sorted(folder.glob("*.png")):
        (FOLDER / f"{name}-{path.name}").write_bytes(compress(path))
        pictures.append(f"{name}-{path.name}")
    code = sorted({path.stem.rsplit("-", 1)[1] for path in (folder / "runs").glob("*[0-9a-f].npz")})
    seconds = sum(sum(setting["cpu_seconds"]) for setting in settings)
    return {"commit": commit, "code": code, "pictures": pictures, "cpu_seconds": round(seconds, 1), **found}


def second_run(folder: Path, conditions: str) -> dict[str, Any]:
    """Return the verdict and effects of a run with other seeds."""
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    settings = [value for value in found.values() if isinstance(value, dict) and "seeds" in value]
    seeds = sorted({seed for setting in settings for seed in setting["seeds"]})
    where = f"seeds {seeds[0]} to {seeds[-1]}, {conditions}"
    return {"conditions": where, "verdict": found["verdict"], "effects": found["effects"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.figures", description="Write docs/figures/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples; by default all")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the outputs of examples")
    parser.add_argument("--only-collect", action="store_true", help="run nothing; use the outputs that exist")
    parser.add_argument("--commit", help="the commit that the outputs were made with; by default the current one")
    parser.add_argument("--second-run", metavar="CONDITIONS", help="add the verdict of outputs with other seeds")
    args = parser.parse_args()
    git = ["git", "rev-parse", "--short=10", "HEAD"]
    commit = args.commit or subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    results = json.loads(METRICS.read_text(encoding="utf-8")) if METRICS.exists() else {}
    for name in args.names or examples():
        if args.second_run:
            results[name]["second_run"] = second_run(args.out / name, args.second_run)
            METRICS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            continue
        if not args.only_collect:
            command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--out", str(args.out / name)]
            subprocess.run(command, cwd=ROOT, check=True)
        second = {key: value for key, value in results.get(name, {}).items() if key == "second_run"}
        results[name] = {**collect(name, args.out / name, commit), **second}
        METRICS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{name}: {', '.join(results[name]['pictures'])}")


if __name__ == "__main__":
    main()
