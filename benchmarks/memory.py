"""Peak memory of training steps in tinygen and PyTorch: how far a fresh process grows in three steps.

The steps are taken twice, and the first time loads the code and fills caches. The growth of the largest resident set in
the second consists of activations, gradients, the state of Adam and work space. In tinygen, freed memory is kept as in
`fit`. For images, the better of PyTorch's memory formats is reported. Linux only.

    python -m benchmarks.memory [--threads 2] [--quick] [--save]
"""

import argparse
from collections.abc import Iterator

from benchmarks.fresh import Step, libraries, mebibytes
from benchmarks.record import Row, add_arguments, report

MODULES = ["made", "pixel_rnn", "pixelcnn", "wavenet", "flows", "vae", "gan"]
SMALL = ("8×8", "2-D", "NICE", "Flow1D")  # steps of a few MiB, which are lost in what the process allocates otherwise


def rows(threads: int, quick: bool) -> Iterator[Row]:
    for module in MODULES[:1] if quick else MODULES:
        for index, (name, found) in enumerate(libraries(module, quick)):
            if any(text in name for text in SMALL):
                continue
            values: dict[str, float] = {}
            for library in found:
                grown, key = mebibytes(Step(module, index, library), threads, quick), library.split(", N")[0]
                values[key] = min(grown, values.get(key, grown))
            yield Row("memory, MiB", name, {**values, "ratio": values["tinygen"] / max(1.0, values["PyTorch"])})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    report("memory", rows(args.threads, args.quick), args)
