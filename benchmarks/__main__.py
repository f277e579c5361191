"""Run the comparisons, each in its own process, merge their results into a JSON file, and render the tables from it.

    python -m benchmarks                            what has no results at this commit, then the documents
    python -m benchmarks --again --only layers      one comparison, whether or not it has results
    python -m benchmarks --isa AVX2                 the same with every library limited to AVX2, as far as it can be
    python -m benchmarks --quick                    a smoke test of every comparison; nothing is written

The results are in `benchmarks/results/CPU.json`; an interrupted run continues with the next comparison.
`benchmarks.binarized_mnist`, which trains models for minutes to hours and compares likelihoods, and
`benchmarks.algorithms`, from which limits in the kernels follow, are not included.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import record, tables

COMPARISONS = ["instruction_sets", "layers", "fused", "mlp", "made", "pixel_rnn", "pixelcnn", "wavenet", "flows", "vae"]
COMPARISONS += ["gan", "memory", "scaling", "threads", "growth", "allocator", "first_run", "distributed"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    record.add_arguments(parser)
    parser.add_argument("--only", nargs="+", default=COMPARISONS, choices=COMPARISONS, metavar="NAME")
    parser.add_argument("--isa", choices=record.EMULATION, help="emulate this instruction set in all libraries")
    parser.add_argument("--again", action="store_true", help="also run what has results at this commit")
    args = parser.parse_args()
    args.save = args.save or record.RESULTS
    return args


def has_results(name: str, folder: Path, threads: int) -> bool:
    """Return whether a comparison has results of this commit, CPU, instruction set and number of threads."""
    path = folder / record.file_name()
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"comparisons": {}}
    found = content["comparisons"].get(record.instruction_set(), {}).get(name, {})
    here = record.environment(threads)
    return all(found.get(key) == here[key] for key in ("commit", "threads", "emulated"))


def main() -> None:
    args = parse_arguments()
    if args.isa and not record.emulated():  # the variables are read when the libraries are imported
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=os.environ | record.EMULATION[args.isa], check=False).returncode)
    options = [f"--threads={args.threads}", *(["--quick"] if args.quick else [f"--save={args.save}"])]
    failed = []
    for name in args.only:
        if not (args.quick or args.again) and has_results(name, args.save, args.threads):
            continue
        print(f"\n## {name}, {record.instruction_set()}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
            failed.append(name)
    if not args.quick:
        tables.write(args.save)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
