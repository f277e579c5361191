"""parametrize_with_checks and `python -m tinygen.testing`: which checks apply, ids, expected failures, the table."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.bijections import Affine
from tinygen.models import FFJORD, MADE, MAF, RealNVP
from tinygen.testing import Subject, check_sampler, enumerate_support, parametrize_with_checks
from tinygen.testing.__main__ import main
from tinygen.testing.contracts import CHECKS

X = np.random.default_rng(1).normal(size=(4, 4))
Rng = np.random.Generator


def my_flow_forward(x: Array) -> tuple[Array, Array]:
    s = np.tanh(x[:, :2])
    return np.concatenate([x[:, :2], x[:, 2:] * np.exp(s)], 1), s.sum(1)


def my_flow_inverse(z: Array) -> tuple[Array, Array]:
    s = np.tanh(z[:, :2])
    return np.concatenate([z[:, :2], z[:, 2:] * np.exp(-s)], 1), -s.sum(1)


def wrong_inverse(z: Array) -> tuple[Array, Array]:
    return my_flow_inverse(z)[0], -my_flow_inverse(z)[1]


class Coin:
    """A biased coin in plain NumPy, with the attributes of a distribution; `p` is the probability that is sampled."""

    shape: tuple[int, ...]
    shape, levels = (1,), 2

    def __init__(self, p: float = 0.3) -> None:
        self.p = p

    def sample(self, n: int, rng: Rng) -> Array:
        return (rng.random((n, 1)) < self.p).astype(int)

    def log_prob(self, x: Array) -> Array:
        return np.log(np.where(x[:, 0] == 1, 0.3, 0.7))


def coin(**methods: Any) -> Subject:
    """Return a Coin with other methods."""
    return Subject("coin", type("Wrong", (Coin,), methods))


def ids(subjects: Any, **settings: Any) -> dict[str, Any]:
    """Return the parameters of a parametrisation by their ids."""
    decorator: Any = parametrize_with_checks(subjects, **settings)
    return {str(p.id): p for p in decorator.args[1]}


def outcome(parameter: Any) -> str:
    try:
        parameter.values[0]()
    except AssertionError as error:
        return str(error)
    return "passed"


def test_every_check_that_applies_is_yielded_with_a_readable_id() -> None:
    found = ids([Coin, (my_flow_forward, my_flow_inverse), Affine(2.0), lambda rng: MADE((2, 2), 2, rng)], x=X)
    assert [name for name in found if name.startswith("Coin")] == [
        "Coin-sample", "Coin-log_prob", "Coin-normalised", "Coin-sampler"
    ]  # fmt: skip
    assert {"my_flow-invertible", "my_flow-log_det", "Affine-invertible", "Affine-log_det", "MADE-autoregressive"} <= {
        *found
    }
    assert {outcome(p) for name, p in found.items() if "flow" in name or "Affine" in name} == {"passed"}


def test_every_check_can_fail() -> None:
    """Each entry of the list rejects a subject that is wrong in its respect only."""
    wrong: dict[str, tuple[Subject, str]] = {
        "sample": (coin(sample=lambda self, n, rng: np.zeros((n, 1), int)), "is rng ignored"),
        "log_prob": (coin(log_prob=lambda self, x: np.zeros(())), "expected shape"),
        "normalised": (coin(log_prob=lambda self, x: np.full(len(x), -0.5)), "should be 1"),
        "sampler": (Subject("s", Coin(0.5)), "χ²"),
        "invertible": (Subject("s", (my_flow_forward, my_flow_forward), X), "applied twice"),
        "log_det": (Subject("s", (my_flow_forward, wrong_inverse), X), "log_det of inverse .* sign is flipped"),
        "conditional": (Subject("s", lambda x, context: 2 * x, X, X[:, :1]), "ignores its context"),
    }
    for name, (subject, message) in wrong.items():
        assert not CHECKS[name].excluded(subject, subject.build()), name
        with pytest.raises(AssertionError, match=message):
            CHECKS[name].run(subject, subject.build())


def test_autoregressive_check_rejects_a_leak() -> None:
    class Leaking(MADE):
        def __call__(self, x: Array, labels: Array | None = None, *, order: int = 0) -> Any:
            return super().__call__(x[:, ::-1], labels)

    subject = Subject("Leaking", lambda rng: Leaking((2, 2), 2, rng, hidden=(9,)))
    with pytest.raises(AssertionError, match="an input that it must not see"):
        CHECKS["autoregressive"].run(subject, subject.build())


class Peaked(Coin):
    """Four coins that are almost always 0, as a trained model may be: three samples are often the same."""

    shape, p = (4,), 0.02

    def __init__(self) -> None:
        pass

    def sample(self, n: int, rng: Rng) -> Array:
        return (rng.random((n, 4)) < self.p).astype(int)

    def log_prob(self, x: Array) -> Array:
        return np.asarray(np.log(np.where(x == 1, self.p, 1 - self.p)).sum(1))


class AlwaysZero(Peaked):
    def sample(self, n: int, rng: Rng) -> Array:
        return np.zeros((n, 4), int) * rng.integers(2)


class AlwaysZeroOfUnknownLevels(AlwaysZero):
    levels = None  # type: ignore[assignment]


class Constant(Peaked):
    """A continuous distribution whose density is above 1."""

    levels = None  # type: ignore[assignment]
    log_prob = lambda self, x: 9 + 0 * x[:, 0]
    sample = lambda self, n, rng: np.zeros((n, 4)) * rng.normal()


def test_equal_samples_of_a_peaked_distribution_are_accepted() -> None:
    for seed in range(20):
        for name in ("sample", "sampler"):
            CHECKS[name].run(Subject("peaked", Peaked, seed=seed), Peaked())
    rarer = type("Rarer", (Peaked,), {"p": 1e-4})()
    CHECKS["sample"].run(Subject("rarer", rarer), rarer)
    with pytest.raises(ValueError, match="too few for a χ² test"):  # and not: is rng ignored?
        check_sampler(rarer.sample, rarer.log_prob, enumerate_support(2, (4,)), 1000, rng=np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [AlwaysZero, AlwaysZeroOfUnknownLevels, Constant])
def test_constant_samplers_are_rejected(wrong: type[Peaked]) -> None:
    """They use rng, so its state would not show the fault."""
    with pytest.raises(AssertionError, match="sample: another seed gives the same samples; is rng ignored"):
        CHECKS["sample"].run(Subject("wrong", wrong), wrong())


def test_each_test_has_its_own_object() -> None:
    built: list[Coin] = []

    def make() -> Coin:
        built.append(Coin())
        return built[-1]

    found = ids({"coin": make})
    at_collection = len(built)
    for parameter in found.values():
        parameter.values[0]()
    assert len(built) == at_collection + len(found)
    model = RealNVP((2, 2, 1), np.random.default_rng(0), scales=1, hidden=4, depth=1)
    before = model.state()
    for parameter in ids([model]).values():
        outcome(parameter)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_expected_failures_are_strict_and_must_name_a_check() -> None:
    found = ids([Coin(0.5), Coin()], expected_failures={"Coin-sampler": "biased"})
    (mark,) = found["Coin-sampler"].marks
    assert (mark.name, mark.kwargs["reason"], mark.kwargs["strict"]) == ("xfail", "biased", True)
    assert not found["Coin2-sampler"].marks
    assert outcome(found["Coin-sampler"]) != "passed"
    with pytest.raises(
        ValueError, match=r"expected names of checks that apply, got \['samplr'\]; there are Coin-sample, "
    ):
        ids([Coin()], expected_failures={"samplr": "biased"})
    with pytest.raises(ValueError, match="subjects: expected one or more"):
        ids([])


def test_what_does_not_apply_has_a_reason() -> None:
    def reasons(given: Any, **settings: Any) -> dict[str, str]:
        subject = Subject("s", given, **settings)
        return {name: check.excluded(subject, subject.build()) for name, check in CHECKS.items()}

    assert reasons((my_flow_forward, my_flow_inverse))["log_det"] == "its input shape is unknown: pass x"
    assert reasons((np.exp, np.log), x=X)["log_det"] == "forward returns no log_det"
    assert reasons((np.exp, np.log), x=X)["invertible"] == ""
    assert reasons(my_flow_forward, x=X)["invertible"] == "it has no inverse"
    assert "more than 4096 values" in reasons(lambda rng: MADE((4, 4), 2, rng))["sampler"]
    assert reasons(Coin)["invertible"] == "it has no forward and inverse"


FILE = """
import numpy as np
from tinygen.testing.contracts import Subject

def forward(x):
    return np.sinh(x), np.log(np.cosh(x)).sum(1)

def inverse(z):
    return np.arcsinh(z), -0.5 * np.log1p(z**2).sum(1)

def wrong(x):
    return np.sinh(x), -np.log(np.cosh(x)).sum(1)
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my_flows.py"
    path.write_text(FILE)
    return str(path)


def test_command_line_prints_a_table(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{file}:forward,inverse", "--x", "4,3"]) == 0
    table = capsys.readouterr().out
    assert "log_det         passed          log_det of forward: largest error" in table
    assert "tolerance 1e-06" in table
    assert "sampler         not applicable  it has no log_prob, sample and shape" in table
    assert table.endswith("2 passed, 0 failed, 6 not applicable\n")
    assert main([f"{file}:wrong", "--x", "4,3"]) == 1
    assert "log_det         failed          check_log_det: the log_det of forward is" in capsys.readouterr().out
    assert main([f"{file}:forward"]) == 2
    assert "its input shape is unknown: pass x" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}:nothing"], "expected a name in .*, got nothing; it defines np, Subject, forward, inverse, wrong"),
        (["{}"], "expected path/to/file.py:name"),
        (["nowhere.py:f"], "expected a Python file, got nowhere.py"),
        (["{}:forward", "--x", "4;3"], "--x: expected a shape such as 4,3, got 4;3"),
        (["{}:forward,inverse,wrong"], "expected one name, or two"),
        (["{}:forward", "--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["{}:forward", "--convert", "nowhere.from_numpy"], "No module named 'nowhere'"),
    ],
)
def test_command_line_names_wrong_arguments(
    arguments: list[str], message: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([argument.format(file) for argument in arguments])
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_module_runs_as_a_program(file: str) -> None:
    command = [sys.executable, "-m", "tinygen.testing", f"{file}:wrong", "--x", "4,3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "The sign is flipped" in done.stdout


def test_pytorch_functions_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "torch_flow.py"
    path.write_text("import torch\n\ndef forward(x):\n    return torch.sinh(x), torch.log(torch.cosh(x)).sum(1)\n")
    assert main([f"{path}:forward", "--x", "4,3", "--convert", "torch.from_numpy"]) == 0
    assert "1 passed" in capsys.readouterr().out


def test_checks_need_neither_pytest_nor_hypothesis() -> None:
    code = "import sys, tinygen.testing.__main__; print({'pytest', 'hypothesis', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@parametrize_with_checks([Coin, Affine(2.0)], x=X)
def test_parametrisation_runs_under_pytest(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ((my_flow_forward, my_flow_inverse), "my_flow: .*its input shape is unknown: pass x"),
        (lambda rng: MAF(2, rng, hidden=(4,), context=3), "MAF: .*it is conditional: pass context"),
    ],
)
def test_a_subject_to_which_no_check_applies_is_an_error(subject: Any, reason: str) -> None:
    """Otherwise pytest would skip an empty set, or test the other subjects alone."""
    with pytest.raises(ValueError, match=f"subjects: no check applies to {reason}"):
        parametrize_with_checks([Coin, subject])


class NeedsSize(Coin):
    def __init__(self, dim: Any) -> None:
        super().__init__()


class NeedsTwo(Coin):
    def __init__(self, rng: Rng, *, dim: int) -> None:
        super().__init__()


@pytest.mark.parametrize(("wrong", "required"), [(NeedsSize, "dim"), (NeedsTwo, "rng, dim")])
def test_classes_with_other_arguments_than_rng_are_refused(
    wrong: type, required: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = (
        f"{wrong.__name__}: expected a class whose only required argument is rng, got one with {required}; "
        f"pass a factory, such as lambda rng: {wrong.__name__}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        parametrize_with_checks([wrong])
    path = tmp_path / "classes.py"
    path.write_text(f"class {wrong.__name__}:\n    def __init__(self, {required}):\n        assert False\n")
    with pytest.raises(SystemExit) as caught:
        main([f"{path}:{wrong.__name__}"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_rng_may_be_a_keyword() -> None:
    class Keyword(Coin):
        def __init__(self, *, rng: Rng, p: float = 0.3) -> None:
            super().__init__(rng.uniform() * 0 + p)

    assert isinstance(Subject("s", Keyword).build(), Keyword)
    assert Subject("s", lambda *, rng: Keyword(rng=rng)).build().p == 0.3
    assert Subject("s", lambda rng, /: Keyword(rng=rng)).build().p == 0.3


def test_partial_functions_and_methods_are_factories() -> None:
    class Models:
        def build(self, rng: Rng) -> MADE:
            return MADE((2, 2), 2, rng, hidden=(4,))

    for factory in (functools.partial(MADE, (2, 2), 2, hidden=(4,)), Models().build):
        built = Subject("MADE", factory).build()
        assert isinstance(built, MADE)


@pytest.mark.parametrize("context", [0, 1])
def test_flows_with_an_adaptive_solver_are_accepted(context: int) -> None:
    given = np.random.default_rng(0).normal(size=(4, context)) if context else None
    subject = Subject("FFJORD", lambda rng: FFJORD(2, rng, hidden=4, context=context), context=given)
    names = [name for name, check in CHECKS.items() if not check.excluded(subject, subject.build())]
    assert names == (
        ["invertible", "log_det", "conditional"] if context else ["sample", "log_prob", "invertible", "log_det"]
    )
    for name in names:
        CHECKS[name].run(subject, subject.build())


def test_samples_of_pytorch_that_require_grad() -> None:
    torch = pytest.importorskip("torch")

    class Normal:
        shape = (2,)
        mean = torch.zeros(2, dtype=torch.float64, requires_grad=True)

        def sample(self, n: int, rng: Rng) -> Any:
            return self.mean + torch.from_numpy(rng.normal(size=(n, 2)))

        def log_prob(self, x: Any) -> Any:
            return -0.5 * ((x - self.mean) ** 2).sum(1) - np.log(2 * np.pi)

    subject = Subject("Normal", Normal, convert=torch.from_numpy)
    for name in ("sample", "log_prob"):
        CHECKS[name].run(subject, subject.build())


@pytest.mark.parametrize("classes", [np.arange(3), ["a", "b"], 0, None])
def test_a_distribution_may_have_an_attribute_classes(classes: Any) -> None:
    """Only a number of classes or features says that log_prob needs a context."""
    subject = coin(classes=classes)
    assert not CHECKS["sample"].excluded(subject, subject.build())
    assert CHECKS["sample"].excluded(subject, coin(classes=3).build()) == "its functions need a context"


def test_a_continuous_flow_alone_is_accepted() -> None:
    subject = Subject("flow", lambda rng: FFJORD(2, rng, hidden=4).bijection, x=X[:, :2])
    CHECKS["invertible"].run(subject, subject.build())
