"""Run the trainings of an example one after another, so that an interrupted example goes on where it stopped.

    out/NAME/runs/KEY.npz             results of a finished training
    out/NAME/runs/KEY.checkpoint.npz  state of an unfinished one, written by `fit`; KEY-PART.checkpoint.npz of its parts

KEY has the setting, the seed, the steps and a hash of the code that trains, so results of an older version of the
example are not reused. The pictures, the table and metrics.json are written again as trainings finish, or once at the
end with --quick.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common.arguments import parse_arguments
from common.parallel import completed, share_trainings
from common.report import Report
from common.storage import Results, fingerprint, load, save
from common.table import numbers
from common.training import Training, world


def study(
    train: Callable[[Training], Results],
    show: Callable[[Report], None],
    settings: Sequence[str],
    *,
    steps: int,
    quick: int,
    seeds: int = 5,
    optional: Sequence[str] = (),
) -> None:
    """Train every setting with every seed, and call `show` as trainings finish; with --quick, only after the last.

    Args:
        train: returns numbers, which become rows of the table, and arrays, which are kept for the pictures.
        show: draws the pictures and decides the claim, from the results so far.
        steps, quick: default number of training steps, and that of --quick.
        seeds: default number of seeds.
        optional: settings that are trained only if --only names them.
    """
    path = Path(train.__code__.co_filename)
    doc = sys.modules[train.__module__].__doc__ or ""
    args = parse_arguments(doc, path.stem, settings, optional, steps, quick, seeds)
    report, runs, key = Report(args), args.out / "runs", f"{args.steps}-{fingerprint(path)}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"--out: expected a folder that can be written, got {args.out}: {error.strerror}")
    if len(set(map(slug, args.only))) < len(args.only):
        raise ValueError(f"settings: expected names that differ in their letters or digits, got {args.only}")
    trainings = []
    for seed in range(args.seed, args.seed + args.seeds):
        for setting in args.only:
            name = f"{slug(setting)}-{seed}-{key}"
            training = Training(
                setting, seed, args.steps, args.quick, runs / f"{name}.checkpoint.npz", args.out, seed == args.seed,
                args.mpi,
            )  # fmt: skip
            if training.results.exists():
                report.add(setting, seed, load(training.results))
            else:
                trainings.append(training)
    if args.mpi:
        share_trainings(train, trainings, world())
        if world().rank > 0:
            return
    done = args.seeds * len(args.only) - len(trainings)
    print(f"resumed: {done} of {done + len(trainings)} trainings are done, in {runs}/\n" * (done > 0), end="")
    written = duration = 0.0
    try:
        for training, results in completed(train, trainings, args.jobs):
            save(training.results, results)
            for checkpoint in training.checkpoints():
                checkpoint.unlink()
            report.add(training.setting, training.seed, load(training.results))
            # Spend at most about a sixth of the time on drawing.
            if not args.quick and time.perf_counter() - written > 5 * duration:
                start = time.perf_counter()
                report.write(show)
                written = time.perf_counter()
                duration = written - start
            found = ", ".join(f"{name} {results[name]:.4g}" for name in numbers(results))
            print(f"  {found} (CPU {results['cpu_seconds']:.0f} s)", flush=True)
        report.write(show)
        print(report.text)
    except KeyboardInterrupt as error:
        if report.results:
            report.write(show)
        sys.exit(str(error) or f"interrupted; finished trainings are in {runs}/; run the same command to go on")


def slug(setting: str) -> str:
    """Return a part of a file name: the letters a to z and digits of a setting."""
    return re.sub("[^a-z0-9]+", "-", setting.lower())
