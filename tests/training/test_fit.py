"""The training loop: minibatches, records, the best parameters, averages, and rejection of invalid input."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training_runs import TrainingRun, data, make_run, train
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter, Tensor, sqrt
from tinygen.data import digits
from tinygen.nn import Linear, Module
from tinygen.optim import EMA, SGD, Adam, Optimizer
from tinygen.training import CSVLog, NonFiniteError, SampleGrid, fit


class Scalar(Module):
    """A single parameter, so that every step can be computed by hand."""

    def __init__(self) -> None:
        self.w = Parameter(np.zeros(1))


def fit_quietly(loss: Any, module: Module, arrays: Any, **settings: Any) -> Any:
    return fit(loss, module, arrays, rng=np.random.default_rng(0), progress=False, **settings)


@given(n=st.integers(1, 9), batch_size=st.integers(1, 10), epochs=st.integers(1, 3))
def test_every_epoch_contains_every_example_once(n: int, batch_size: int, epochs: int) -> None:
    scalar, seen = Scalar(), list[tuple[Array, Array]]()

    def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        seen.append((x, y))
        return (scalar.w * 0).sum()

    sgd = SGD(scalar.parameters(), 0.1)
    fit_quietly(loss, scalar, [np.arange(n), -np.arange(n)], optimizer=sgd, batch_size=batch_size, epochs=epochs)
    assert all(np.array_equal(x, -y) for x, y in seen)
    xs = np.concatenate([x for x, _ in seen]).reshape(epochs, n)
    assert np.array_equal(np.sort(xs), np.tile(np.arange(n), (epochs, 1)))
    assert all(len(x) <= batch_size for x, _ in seen)
    assert sgd.steps == len(seen) == epochs * -(-n // batch_size)


def test_every_epoch_is_shuffled_differently() -> None:
    scalar, seen = Scalar(), list[Array]()

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        seen.append(x)
        return (scalar.w * 0).sum()

    fit_quietly(loss, scalar, np.arange(20), optimizer=SGD(scalar.parameters(), 0.1), batch_size=20, epochs=2)
    assert not np.array_equal(seen[0], np.arange(20))
    assert not np.array_equal(seen[0], seen[1])


def test_recorded_loss_is_the_mean_over_examples_since_the_last_record() -> None:
    scalar, calls = Scalar(), count()

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        return (scalar.w * 0 + float(x.mean()) + 10 * (next(calls) // 3)).sum()  # larger in the second epoch

    sgd = SGD(scalar.parameters(), 0.1)
    history = fit_quietly(loss, scalar, np.arange(5.0), optimizer=sgd, batch_size=2, epochs=2, unit="bits")
    assert [(r.step, r.epoch, r.loss, r.valid) for r in history.records] == [(3, 1.0, 2.0, None), (6, 2.0, 12.0, None)]
    assert history.unit == "bits"
    assert history.best is None


def count_up(**settings: Any) -> tuple[Scalar, Any]:
    """Train a scalar w for 6 steps with a loss that increases it by exactly 1 at each; `validate` receives w."""
    scalar = Scalar()
    settings = {"optimizer": SGD(scalar.parameters(), 1.0), "batch_size": 1, "steps": 6, "every": 1, **settings}
    if "validate" in settings:
        settings["validate"] = lambda validate=settings["validate"]: validate(scalar.w.value.item())
    if "decay" in settings:
        settings["ema"] = EMA(scalar.parameters(), settings.pop("decay"))
    return scalar, fit_quietly(lambda x, rng: -scalar.w.sum(), scalar, np.zeros(1), **settings)


def test_module_ends_with_the_best_validated_parameters() -> None:
    scalar, history = count_up(validate=lambda w: abs(w - 4))
    assert scalar.w.value.tolist() == [4.0]
    assert [r.valid for r in history.records] == [3, 2, 1, 0, 1, 2]
    assert history.best.step == 4


def test_best_is_the_first_of_equal_results_and_never_nan() -> None:
    assert count_up(validate=lambda w: np.nan if w < 2 else 7.0)[0].w.value.tolist() == [2.0]


@pytest.mark.parametrize("result", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("averaging", [{}, {"decay": 0.5}])
def test_raises_at_the_end_if_no_validation_result_was_finite(
    result: float, averaging: dict[str, Any], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"checkpoint": tmp_path / "run.npz", "history": tmp_path / "run.jsonl", **averaging}
    with pytest.raises(NonFiniteError, match=f"validate: expected .*, got {result} at the last of 6"):
        count_up(validate=lambda w: result, **settings)
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 6
    with pytest.raises(NonFiniteError, match="validate"):  # also when resumed from the checkpoint
        count_up(validate=lambda w: result, **settings)


def test_averages_are_validated_and_kept() -> None:
    means = [0.5, 1.25, 2.125, 3.0625, 4.03125, 5.015625]
    scalar, history = count_up(validate=lambda w: abs(w - 2), decay=0.5)
    assert [r.valid for r in history.records] == [abs(mean - 2) for mean in means]
    assert scalar.w.value.tolist() == [2.125]
    assert count_up(decay=0.5)[0].w.value.tolist() == [5.015625]


def test_gradients_are_clipped() -> None:
    assert count_up(clip=0.25)[0].w.value.tolist() == [1.5]


def test_only_the_parameters_of_the_optimizer_are_trained() -> None:
    run = make_run()
    before = run.net.state()
    loss = lambda x, y, rng: run.net.loss(x, y)
    fit_quietly(loss, run.net, data(), optimizer=Adam(run.net.last.parameters()), batch_size=5, steps=2)
    changed = {name for name, value in run.net.state().items() if not np.array_equal(value, before[name])}
    assert changed == {"last.w", "last.b"}


def non_finite_loss(kind: str, first: int, run: TrainingRun) -> Any:
    """Return the loss of a run, with a non-finite loss or gradient, given by `kind`, from call number `first` on."""
    calls, bias = iter(range(100)), run.net.parameters()[-1]

    def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        value = run.net.loss(x, y, rng=rng)
        if next(calls) < first:
            return value
        if kind == "gradient":
            return value + sqrt(bias * 0).sum()  # 0, with derivative 0/0
        if kind == "gradient and loss":
            return value + (bias * np.float32(np.inf)).sum()
        return value + (np.float32(np.nan) if kind == "nan" else np.float32(np.inf))

    return loss


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"step 4 \(epoch 1\): the loss is nan; all parameters and gradients are finite"),
        ("inf", r"step 4 \(epoch 1\): the loss is inf; all parameters and gradients are finite"),
        ("gradient", r"step 4 \(epoch 1\): the loss is \d.*; 1 of 1 entries of the gradient of last\.b are NaN"),
        ("gradient and loss", r"step 4 .*: the loss is -?inf; 1 of 1 entries of the gradient of last\.b are NaN"),
    ],
)
def test_non_finite_loss_or_gradient_stops_the_run_before_the_update(
    kind: str, message: str, clip: float | None, tmp_path: Path
) -> None:
    good = make_run()
    settings: dict[str, Any] = {"batch_size": 4, "clip": clip, "every": 1, "progress": False}
    fit(good.net.loss, good.net, data(), optimizer=good.optimizer, rng=good.rng, steps=4, **settings)
    run = make_run()
    settings |= {"optimizer": run.optimizer, "rng": run.rng, "checkpoint": tmp_path / "run.npz"}
    with pytest.raises(NonFiniteError, match=message):
        fit(non_finite_loss(kind, 4, run), run.net, data(), steps=9, **settings)
    assert all(np.array_equal(value, good.net.state()[name]) for name, value in run.net.state().items())
    assert issubclass(NonFiniteError, FloatingPointError)
    fit(non_finite_loss(kind, 4, run), run.net, data(), steps=4, **settings)  # resumes
    assert all(np.array_equal(value, good.net.state()[name]) for name, value in run.net.state().items())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_error_names_a_non_finite_parameter_before_gradients() -> None:
    run = make_run()
    run.net.last.w.assign(np.array([[1], [np.nan], [1], [np.inf], [1]], np.float32))
    settings: dict[str, Any] = {"optimizer": run.optimizer, "rng": run.rng, "batch_size": 4, "progress": False}
    with pytest.raises(NonFiniteError, match=r"step 0 .*: the loss is nan; 2 of 5 entries of parameter last\.w"):
        fit(run.net.loss, run.net, data(), steps=1, **settings)


def test_error_names_a_gradient_too_large_for_adam() -> None:
    scalar = Scalar()
    loss = lambda x, rng: (scalar.w * np.float32(1e20)).sum()
    message = r"step 0 .*: the loss is 0\.0; gradients\[0\] .* squares overflow float32"
    with pytest.raises(NonFiniteError, match=message):
        fit_quietly(loss, scalar, np.zeros(1), optimizer=Adam(scalar.parameters()), batch_size=1, steps=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": []}, r"data: .* got shapes \[\]"),
        ({"data": np.zeros((0, 2))}, r"data: .* got shapes \[\(0, 2\)\]"),
        ({"data": np.float64(1)}, r"data: .* got shapes \[\(\)\]"),
        ({"data": digits("test")}, r"data: .* got shapes \[\(\)\]; pass the arrays of a data set, such as images\."),
        ({"data": data()[0]}, r"loss: expected .* loss\(\*batch, rng=rng\), with 1 array\(s\) .*; missing .* 'y'"),
        ({"loss": lambda x, y: x.sum()}, r"loss: expected .* loss\(\*batch, rng=rng\), with 2 .* 'rng'"),
        ({"loss": "minimax"}, "loss: expected a function, or one for each player, got 'minimax'"),
        ({"loss": [None]}, "loss: expected a function, or one for each player, got None"),
        ({"data": [np.zeros(3), np.zeros(4)]}, r"data: .* got shapes \[\(3,\), \(4,\)\]"),
        ({"batch_size": 0}, "batch_size: expected .*, got 0"),
        ({"batch_size": 2.5}, "batch_size: expected .*, got 2.5"),
        ({"epochs": 0}, "epochs: expected .*, got 0"),
        ({"epochs": None}, "epochs, steps: expected exactly one of the two, got None, None"),
        ({"steps": 3}, "epochs, steps: expected exactly one of the two, got 1, 3"),
        ({"epochs": None, "steps": -1}, "steps: expected .*, got -1"),
        ({"every": 0}, "every: expected .*, got 0"),
        ({"clip": 0.0}, "clip: expected .*, got 0.0"),
        ({"rng": 3}, "rng: expected a .*, got"),
        ({"validate": 3}, "validate: expected a function that returns a number, got 3"),
        ({"validate": lambda: None}, "validate: expected a function that returns a number, got one that returned None"),
        ({"validate": lambda: "0.5"}, "validate: expected .* number, got one that returned '0.5'"),
        ({"validate": lambda: np.complex64(1)}, "validate: expected .* number, got one that returned .*1"),
        ({"clip": "a"}, "clip: expected a number or None, got 'a'"),
        ({"ema": 3}, "ema: expected a EMA or None, got 3"),
        ({"on_record": 3}, "on_record: expected a function or a sequence.*, got 3"),
        ({"checkpoint": 3}, "checkpoint: expected a string or a Path or None, got 3"),
        ({"history": 3}, "history: expected a string or a Path or None, got 3"),
        ({"optimizer": 3}, "optimizer: expected a Optimizer or a sequence.*, got 3"),
        ({"module": 3}, "module: expected a Module, got 3"),
        ({"data": Tensor(np.ones((4, 2)))}, "data: expected an array of numbers or a sequence.*, got Tensor"),
        ({"optimizer": SGD([Parameter(np.zeros(1))], 0.1)}, "optimizer: expected parameters of the module"),
        ({"ema": EMA([Parameter(np.zeros(1))], 0.1)}, "ema: expected parameters of the module"),
    ],
)
def test_rejects_invalid_arguments(changes: dict[str, Any], message: str) -> None:
    run = make_run()
    settings: dict[str, Any] = {
        "loss": run.net.loss,
        "data": data(),
        "optimizer": run.optimizer,
        "batch_size": 2,
        "epochs": 1,
        "rng": run.rng,
        "module": run.net,
    }
    with pytest.raises((ValueError, TypeError), match=message):
        fit(progress=False, **{**settings, **changes})


@pytest.mark.parametrize("name", ["checkpoint", "history"])
def test_rejects_a_folder_in_place_of_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{name}: expected a file in a folder that exists, got {tmp_path}"):
        train(tmp_path, 1, **dict[str, Any]({name: tmp_path}))


@pytest.mark.parametrize("make", [CSVLog, SampleGrid, None])
@pytest.mark.parametrize("name", ["checkpoint", "history"])
def test_rejects_two_outputs_in_one_file(name: str, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = "log.png" if make is SampleGrid else "log.csv"
    given: dict[str, Any] = {name: tmp_path / path}
    other = {"on_record": make(path)} if make else {"checkpoint": path, "history": path}
    train(tmp_path, 4, steps=4, epochs=None, **given)
    before = Path(path).read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint, history, on_record: expected different files, got .*log"):
        train(tmp_path, 4, **{**other, **given})
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoint", "history"])
def test_rejects_a_missing_folder_before_the_first_step(name: str, tmp_path: Path) -> None:
    def never(call: int) -> None:
        raise AssertionError("a step was taken")

    with pytest.raises(ValueError, match=rf"{name}: expected a file in a folder that exists, got .*elsewhere"):
        train(tmp_path, 3, never, **{name: tmp_path / "elsewhere" / "run"})


class Overflowing(Optimizer):
    def _new_value(self, value: Array, g: Array, buffers: list[Array], lr: float) -> Array:
        return value + np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Overflowing, "after step 1: .* entries of parameter w are NaN or infinite"),
        (SGD, "step 0 .*; gradients: expected finite parameters after a step with lr"),
    ],
)
def test_parameters_that_overflow_in_the_last_step_are_an_error(make: Any, message: str) -> None:
    """No later loss or gradient would show it."""
    layer = Linear(2, 1, np.random.default_rng(0))
    with pytest.raises(NonFiniteError, match=message):
        fit(
            lambda x, rng: ((layer(x) - 9) ** 2).mean(), layer, np.ones((4, 2), np.float32), batch_size=4, steps=1,
            optimizer=make(layer.parameters(), 3e38), rng=np.random.default_rng(0), progress=False,
        )  # fmt: skip


def test_parameters_may_be_infinite_from_the_start() -> None:
    """Such as the logits of classes that do not occur."""
    bias = Parameter(np.array([0.0, -np.inf]))
    fit(
        lambda x, rng: ((bias[:1] - 1) ** 2).mean(), Holder(bias), np.ones((4, 2), np.float32), batch_size=4, steps=2,
        optimizer=SGD([bias], 0.1), rng=np.random.default_rng(0), progress=False,
    )  # fmt: skip
    assert bias.value[1] == -np.inf


class Holder(Module):
    def __init__(self, bias: Parameter) -> None:
        self.bias = bias
