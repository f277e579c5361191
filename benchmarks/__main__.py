"""Run all comparisons one after another, each in its own process, with its default settings.

    python -m benchmarks [--quick]

`benchmarks.binarized_mnist` is not included: it trains models for minutes to hours and compares likelihoods, not times.
"""

import argparse
import subprocess
import sys

COMPARISONS = ["first_run", "allocator", "threads", "layers", "mlp", "made", "pixel_rnn", "pixelcnn", "wavenet"]
COMPARISONS += ["flows", "vae", "gan"]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smoke test: small sizes, too few repetitions to rely on")
    options = ["--quick"] if parser.parse_args().quick else []
    failed = []
    for name in COMPARISONS:
        print(f"\n## {name}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
