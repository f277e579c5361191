"""Command-line arguments that all examples share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse_arguments(
    doc: str, name: str, settings: Sequence[str], optional: Sequence[str], steps: int, quick: int, seeds: int
) -> argparse.Namespace:
    """Parse the arguments that all examples have; the result also has the docstring, as `doc`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="first random seed (default: 0)")
    add("--seeds", type=int, help=f"number of seeds (default: {seeds}); at least 2 are needed for a verdict")
    add("--steps", type=int, help=f"training steps (default: {steps})")
    names = [*settings, *optional]
    add("--only", choices=names, nargs="+", default=list(settings), metavar="SETTING", help=f"of {names}")
    add("--out", type=Path, help=f"output folder (default: out/{name}; out/quick/{name} with --quick)")
    add("--jobs", type=int, default=1, help="trainings that run at the same time, in a process each (default: 1)")
    add("--mpi", action="store_true", help="divide each training among the ranks of mpiexec -n N python -m mpi4py FILE")
    add("--quick", action="store_true", help=f"smoke test of {quick} steps and 2 seeds: its results mean nothing")
    args = parser.parse_args()
    args.doc, args.only = doc, list(dict.fromkeys(args.only))
    args.steps = (quick if args.quick else steps) if args.steps is None else args.steps
    args.seeds = (2 if args.quick else seeds) if args.seeds is None else args.seeds
    args.out = args.out or (Path("out/quick") if args.quick else Path("out")) / name
    if min(args.steps, args.seeds) < 1 or args.seed < 0:
        parser.error(f"--steps, --seeds: expected ≥ 1, --seed: ≥ 0; got {args.steps}, {args.seeds}, {args.seed}")
    if args.jobs < 1 or (args.jobs > 1 and args.mpi):
        parser.error(f"--jobs: expected ≥ 1, and 1 with --mpi; got {args.jobs}")
    return args
