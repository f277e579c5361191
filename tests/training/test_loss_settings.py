"""Settings of a loss: found wherever a function has them, compared by value when a run resumes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import TrainingRun, make_run, train
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor
from tinygen.recorded import describe, is_same_setting, settings
from tinygen.training import CheckpointError
from tinygen.training.loss_settings import loss_settings

Loss = Callable[..., Any]
BETA: Any = 1.0


def with_global(loss: Loss, beta: Any) -> Loss:
    globals()["BETA"] = beta
    return lambda x, y, rng: loss(x, y, rng=rng, beta=BETA)


def with_nested_global(loss: Loss, beta: Any) -> Loss:
    globals()["BETA"] = beta
    return lambda x, y, rng: (lambda: loss(x, y, rng=rng, beta=BETA))()


FORMS: dict[str, Callable[[Loss, Any], Loss]] = {
    "partial": lambda loss, beta: partial(loss, beta=beta),
    "partial of partial": lambda loss, beta: partial(partial(loss, beta=3.0), beta=beta),
    "default": lambda loss, beta: lambda x, y, rng, beta=beta: loss(x, y, rng=rng, beta=beta),
    "closure": lambda loss, beta: lambda x, y, rng: loss(x, y, rng=rng, beta=beta),
    "nested closure": lambda loss, beta: lambda x, y, rng: (lambda: loss(x, y, rng=rng, beta=beta))(),
    "partial of closure": lambda loss, beta: partial(lambda x, y, rng: loss(x, y, rng=rng, beta=beta)),
    "global": with_global,
    "nested global": with_nested_global,
}


def train_with(form: str, beta: Any, folder: Path, **changes: Any) -> TrainingRun:
    run = make_run()

    def loss(x: Array, y: Array, *, rng: np.random.Generator, beta: float) -> Tensor:
        return beta * run.net.loss(x, y, rng=rng)

    return train(folder, 3, run=run, loss=FORMS[form](loss, beta), **changes)


@pytest.mark.parametrize("form", FORMS)
def test_a_run_resumes_only_with_the_same_value(form: str, tmp_path: Path) -> None:
    train_with(form, 2, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=r"got a different one: loss0\.(beta|BETA) is 2, not 0\.5; use"):
        train_with(form, 0.5, tmp_path)
    for equal in (2.0, np.float32(2), np.int64(2)):
        train_with(form, equal, tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"), (np.float32(0.5), "0.5"), (True, "True"), ("analytic", "'analytic'"), (None, "None"),
        ((1, 2.5), "(1, 2.5)"), ([1, [2]], "(1, (2,))"), ({"a": 1}, "1 items"), (np.array([1, 2]), "int64 (2,) crc32 "),
    ],
)  # fmt: skip
def test_values_of_all_plain_types_are_settings(form: str, value: Any, text: str) -> None:
    found = loss_settings([lambda x, rng: x, FORMS[form](lambda x, y, rng, beta: x, value)])
    name = "loss1.BETA" if "global" in form else "loss1.beta"
    assert found[name].startswith(text)
    assert found.keys() == ({name, f"{name}.a"} if isinstance(value, dict) else {name})


def test_other_objects_and_functions_of_tinygen_are_not_settings() -> None:
    net, objects, generator = make_run().net, [object()], np.random.default_rng(0)

    def loss(x: Array, rng: Any) -> Any:
        return net, objects, generator, later, print, np

    assert loss_settings([loss, net.loss, partial(sum, start=1)]) == {"loss1.rng": "None", "loss2.start": "1"}
    later = 0  # the variable had no value yet
    assert loss_settings([loss]) == {"loss0.later": "0"}


def test_variables_are_compared_as_they_were_when_the_run_started(tmp_path: Path) -> None:
    """A loss may count its calls."""

    def counting(run: TrainingRun, calls: int) -> Loss:
        def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
            nonlocal calls
            calls += 1
            return run.net.loss(x, y, rng=rng)

        return loss

    for epochs in (1, 2):
        run = make_run()
        train(tmp_path, 3, run=run, loss=counting(run, 0), epochs=epochs)
    run = make_run()
    with pytest.raises(CheckpointError, match=r"loss0\.calls is 0, not 1"):
        train(tmp_path, 3, run=run, loss=counting(run, 1))


def test_a_default_that_only_one_version_has_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.training.checkpoint.__version__", "0.0.1")
    train_with("default", 2, tmp_path, epochs=1)
    monkeypatch.undo()
    run = make_run()
    train(tmp_path, 3, run=run, loss=lambda x, y, rng, beta=2, k=1: k * beta * run.net.loss(x, y, rng=rng), epochs=2)
    run = make_run()
    with pytest.raises(CheckpointError, match=r"got a different one: loss0\.k is 1, not 2; use"):
        train(tmp_path, 3, run=run, loss=lambda x, y, rng, beta=2, k=2: k * beta * run.net.loss(x, y, rng=rng))


VALUES = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=3)
)


def text(value: Any) -> str:
    return settings(describe(value))[""]


@given(VALUES, VALUES, st.booleans())
def test_settings_are_the_same_if_their_values_are_equal(a: Any, b: Any, nested: bool) -> None:
    forms: list[Any] = [a]
    if isinstance(a, int):
        forms += [float(a), np.int64(a)]
    elif isinstance(a, float):
        forms += [np.float64(a), *([int(a)] if a.is_integer() else [])]
    for same in forms:
        assert is_same_setting(text(a), text(same))
        assert is_same_setting(text((a, 1)), text((same, 1.0)))
    one, other = ((a, "x"), (b, "x")) if nested else (a, b)
    assert is_same_setting(text(one), text(other)) == (one == other)


@pytest.mark.parametrize("damaged", ["(" * 10_000, "a b", "\0", "float64 (1,) crc32 00000000", "-", "{}[0]"])
def test_texts_that_are_no_literals_are_compared_as_texts(damaged: str) -> None:
    assert is_same_setting(damaged, damaged)
    assert not is_same_setting(damaged, "1")
    assert not is_same_setting(None, damaged)
    assert is_same_setting(None, None)
