"""The built pages, for the tests of their content and those in a browser."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def site() -> Path:
    """Build the pages, as `python -m docs` does, and return their folder. Unchanged pages are not built again."""
    if importlib.util.find_spec("furo") is None:
        pytest.skip("the extra docs is not installed")
    done = subprocess.run([sys.executable, "-m", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "docs" / "_build" / "html"
