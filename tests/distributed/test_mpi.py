"""Training under MPI is bitwise that of shards in one process; errors and Ctrl-C end every rank. Needs mpi4py.

The programs that the ranks run are in helpers/mpi_runs.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import mpi_runs

ROOT = Path(__file__).parents[2]
FOLDERS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = shutil.which("mpiexec", path=FOLDERS)
pytestmark = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason="mpi4py or mpiexec is not installed: pip install -e '.[mpi]'"
)


def launch(ranks: int, program: str | Path, *arguments: str | Path, folder: Path = ROOT) -> subprocess.Popen[str]:
    assert MPIEXEC is not None
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py", str(program), *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "TINYGEN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.fixture(scope="module", params=[2, 3, 4])
def launched(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Train and evaluate on several ranks. Return their number, and the folder with the results."""
    folder = tmp_path_factory.mktemp("mpi")
    status, _, err = finish(launch(request.param, mpi_runs.__file__, folder))
    assert status == 0, err[-3000:]
    return request.param, folder


def load(folder: Path, name: str, ranks: int) -> list[dict[str, Any]]:
    return [dict(np.load(folder / f"{name}.rank{rank}.npz")) for rank in range(ranks)]


@pytest.mark.parametrize("name", mpi_runs.MODELS)
def test_parameters_are_bitwise_those_of_shards_in_one_process(name: str, launched: tuple[int, Path]) -> None:
    ranks, folder = launched
    expected = mpi_runs.train(name, shards=ranks)
    for state in load(folder, name, ranks):
        assert state.pop("rng") == expected.rng
        assert state.keys() == expected.state.keys()
        for key, value in expected.state.items():
            np.testing.assert_array_equal(state[key], value, strict=True)


def test_samples_and_log_likelihoods_are_those_of_one_process(launched: tuple[int, Path]) -> None:
    ranks, folder = launched
    expected = mpi_runs.evaluate()
    for results in load(folder, "evaluation", ranks):
        for name, value in expected.items():
            np.testing.assert_array_equal(results[name], value, strict=True)


def test_an_error_in_one_rank_ends_all_with_its_message(tmp_path: Path) -> None:
    status, _, err = finish(launch(2, mpi_runs.__file__, tmp_path, "fail"))
    assert status != 0
    assert "ArithmeticError: the error of rank 1" in err


def test_ctrl_c_stops_every_rank_after_the_same_step_and_saves(tmp_path: Path) -> None:
    process = launch(2, mpi_runs.__file__, tmp_path, "wait")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "2"
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status != 0
    assert "Traceback" not in err
    assert f"saved to {tmp_path / 'wait.npz'}; run the same command to go on" in err


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs/distributed.md").read_text("utf-8")
    (tmp_path / "train.py").write_text(
        page.split("```python\n")[1].split("```")[0].replace("steps=500", "steps=5"), "utf-8"
    )
    status, out, err = finish(launch(2, "train.py", folder=tmp_path))
    assert status == 0, err[-3000:]
    assert out.count("nats per image") == 1


def test_an_example_runs_on_several_ranks(tmp_path: Path) -> None:
    status, out, err = finish(
        launch(2, ROOT / "examples/pixelcnn.py", "--mpi", "--quick", "--seeds", "1", "--out", tmp_path / "out")
    )
    assert status == 0, err[-3000:]
    assert out.count("Gated PixelCNN, seed 0 …") == 1  # only rank 0 prints
    assert {"metrics.json", "samples.png", "table.txt"} <= {path.name for path in (tmp_path / "out").iterdir()}
