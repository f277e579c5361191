"""Hypothesis profiles, set by HYPOTHESIS_PROFILE: `dev` (default), `ci` (if CI is set), `thorough` (overnight)."""

import os

import numpy as np
import pytest
from hypothesis import settings

# No deadline: the first call of a kernel compiles it, and timings on shared machines vary.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Let idle workers of `pytest -n` steal tests: the slow ones are adjacent, so one worker would get most of them."""
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
