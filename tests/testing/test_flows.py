"""check_invertible and check_log_det reject bijections with one fault each and name the fault."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinygen.autograd import Parameter, Tensor, TensorLike, exp, log, log_sigmoid, matmul, sigmoid, tanh
from tinygen.autograd.tensor import array_of
from tinygen.bijections import Affine, Bijection, Chain, Inverse, Logit, Permute, Reshape
from tinygen.testing import check_invertible, check_log_det

X = np.random.default_rng(1).normal(size=(4, 4))
UNIT = np.random.default_rng(2).uniform(0.1, 0.9, size=(4, 2))
CLASSES = np.eye(4)
Pair = tuple[Tensor, Tensor]
Check = Callable[..., None]
CHECKS: list[Check] = [check_invertible, check_log_det]


class Coupling(Bijection):
    """A correct coupling layer, z_a = x_a, z_b = x_b exp s(x_a) + t(x_a); subclasses replace parts by wrong ones."""

    def __init__(self, scale: float = 0.5, context_layers: int = 0) -> None:
        rng = np.random.default_rng(3)
        self.s, self.t = (Parameter(scale * rng.normal(size=(2, 2)), np.float64) for _ in range(2))
        self.c = Parameter(rng.normal(size=(context_layers, 2)), np.float64) if context_layers else None

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        s, t = self.network(x, context)
        return joined(x, array_of(x)[:, 2:] * exp(s) + t), self.log_det(s)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        s, t = self.network(z, context)
        return joined(z, (array_of(z)[:, 2:] - t) * exp(-s)), self.log_det(-s)

    def network(self, x: TensorLike, context: TensorLike | None) -> Pair:
        first = array_of(x)[:, :2]
        context_term = 0.0 if self.c is None or context is None else matmul(context, self.c)
        return tanh(matmul(first, self.s) + context_term), tanh(matmul(first, self.t))

    def log_det(self, s: Tensor) -> Tensor:
        return s.sum(1)


def joined(x: TensorLike, second: TensorLike) -> Tensor:
    return Tensor(np.concatenate([array_of(x)[:, :2], array_of(second)], 1))


class SignFlipped(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return -s.sum(1)


class InBits(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s.sum(1) / math.log(2)


class Scalar(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s.sum()


class InverseLogDetOfForward(Coupling):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = super().inverse(z, context)
        return x, -log_det


class ForwardTwice(Coupling):
    """A coupling layer whose inverse calls forward, which is correct only while s and t are zero."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return self.forward(z, context)


class WrongOrderOfScaleAndShift(Coupling):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        s, t = self.network(z, context)
        return joined(z, array_of(z)[:, 2:] * exp(-s) - t), self.log_det(-s)


class IgnoresContext(Coupling):
    def network(self, x: TensorLike, context: TensorLike | None) -> Pair:
        return super().network(x, None)


class DependsOnTheBatch(Coupling):
    def network(self, x: TensorLike, context: TensorLike | None) -> Pair:
        s, t = super().network(x, context)
        return s - s.mean(0), t


class Triangular(Bijection):
    """A residual block z = k x + L tanh x with strictly lower triangular L, which can be inverted row by row."""

    def __init__(self, times: float, claimed: float = 1.0) -> None:
        self.lower = Parameter(np.tril(np.random.default_rng(4).normal(size=(4, 4)), -1), np.float64)
        self.times, self.claimed = times, claimed

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(x)
        return Tensor(self.times * v + np.tanh(v) @ self.lower.value.T), Tensor(np.full(len(v), self._log_det()))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(z)
        x = np.zeros_like(v)
        for i in range(4):
            x[:, i] = (v[:, i] - np.tanh(x) @ self.lower.value[i]) / self.times
        return Tensor(x), Tensor(np.full(len(v), -self._log_det()))

    def _log_det(self) -> float:
        return float(4 * np.log(self.claimed))


class HalfOfALogit(Bijection):
    """A logit whose log_det lacks the term ln(1 − u) in both directions."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        u = Tensor(array_of(x))
        return log(u) - log(1 - u), -log(u).sum(1)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return sigmoid(z), log_sigmoid(z).sum(1)


class AsymmetricLogit(HalfOfALogit):
    """A logit whose inverse returns a log_det of 0."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        return Logit().forward(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return sigmoid(z), Tensor(np.zeros(len(array_of(z))))


class LogitWithWrongSign(AsymmetricLogit):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = Logit().inverse(z)
        return x, -log_det


def test_accepts_correct_bijections(rng: np.random.Generator) -> None:
    stack = Chain(Coupling(), Permute(np.array([2, 0, 3, 1])), Coupling(), Affine(np.array([2.0, -3.0, 0.5, 1.0]), 1.0))
    for check in CHECKS:
        check(stack, X, rng=rng)
        check(Inverse(stack), X, rng=rng)
        check(Coupling(context_layers=4), X, context=CLASSES, rng=rng)
        check(Triangular(1.0), X, rng=rng)
        check(Chain(Logit(0.05), Affine(2.0)), UNIT, rng=rng)
        check(Permute(np.array([3, 2, 1, 0])), X, rng=rng)


def test_accepts_images_as_events(rng: np.random.Generator) -> None:
    images = Chain(Reshape((2, 1, 2), (4,)), Coupling(), Reshape((4,), (1, 4, 1)))
    for check in CHECKS:
        check(images, X.reshape(4, 2, 1, 2), rng=rng)
    with pytest.raises(AssertionError, match="sign is flipped"):
        check_log_det(Chain(Reshape((2, 2), (4,)), SignFlipped()), X.reshape(4, 2, 2), rng=rng)


def test_parameters_are_restored(rng: np.random.Generator) -> None:
    coupling = Coupling()
    before = coupling.state()
    check_log_det(coupling, X, rng=rng)
    for name, value in coupling.state().items():
        np.testing.assert_array_equal(value, before[name])


class RaisesIfChanged(Coupling):
    """A coupling layer that raises an error if a parameter has changed."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        before = Coupling().state()
        if any(np.any(value != before[name]) for name, value in self.state().items()):
            raise ValueError("changed")
        return super().forward(x, context)


def test_parameters_are_restored_after_an_error(rng: np.random.Generator) -> None:
    bijection = RaisesIfChanged()
    with pytest.raises(ValueError, match="changed"):
        check_log_det(bijection, X, rng=rng)
    for name, value in bijection.state().items():
        np.testing.assert_array_equal(value, Coupling().state()[name])


class NotOnto(Bijection):
    """z = x + ⌊x⌋, whose range omits every second unit interval."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(x)
        return Tensor(v + np.floor(v)), Tensor(np.zeros(len(v)))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(z)
        return Tensor(v - np.floor(v / 2)), Tensor(np.zeros(len(v)))


class WrongForLargeFirstVariable(Coupling):
    """A coupling layer whose log_det is wrong for some examples only."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        z, log_det = super().forward(x, context)
        return z, log_det + np.where(array_of(x)[:, 0] > X[0, 0], 0.01, 0.0)


WRONG_LOG_DETS: dict[str, tuple[Bijection, str]] = {
    "sign flipped in both directions": (SignFlipped(), "The sign is flipped"),
    "wrong for some examples": (WrongForLargeFirstVariable(), "log_det of forward"),
    "inverse returns that of forward": (InverseLogDetOfForward(), "log_det of inverse .* sign is flipped"),
    "residual block that adds x twice": (Triangular(2.0), "factor of 0.5 per dimension.*a term added twice"),
    "half of a logit": (HalfOfALogit(), r"Σ ln\(1 − input\) is superfluous: is it part of the Jacobian of a sigmoid"),
    "sigmoid without a Jacobian": (AsymmetricLogit(), r"of inverse .*Σ ln .* is missing: is it part of the Jacobian"),
    "sigmoid with the wrong sign": (LogitWithWrongSign(), "of inverse .*The sign is flipped"),
    "sigmoid with the wrong sign, in a chain": (Chain(LogitWithWrongSign(), Affine(3.0)), "has the wrong sign"),
}


@pytest.mark.parametrize("name", WRONG_LOG_DETS)
def test_rejects_wrong_log_dets(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_LOG_DETS[name]
    with pytest.raises(AssertionError, match=message):
        check_log_det(wrong, UNIT if "logit" in name or "sigmoid" in name else X, rng=rng)


@pytest.mark.parametrize("wrong", [SignFlipped(), Triangular(2.0), InBits(), HalfOfALogit()])
def test_round_trip_does_not_detect_consistently_wrong_log_dets(wrong: Bijection, rng: np.random.Generator) -> None:
    """Such errors are why check_log_det exists."""
    check_invertible(wrong, UNIT if isinstance(wrong, HalfOfALogit) else X, rng=rng)


NOT_INVERTIBLE: dict[str, tuple[Bijection, str]] = {
    "forward twice": (ForwardTwice(), "both methods compute the same map"),
    "scale and shift undone in the wrong order": (WrongOrderOfScaleAndShift(), "scale and shift undone in reverse"),
    "inverse returns the log_det of forward": (
        InverseLogDetOfForward(),
        "Do both return the log_det of the same direction",
    ),
    "dependence on the batch": (DependsOnTheBatch(), "changing example 0 changes other outputs"),
    "scalar": (Scalar(), r"expected \(4,\), got \(\)"),
    "not onto": (NotOnto(), r"forward\(inverse\(·\)\) is"),
}


@pytest.mark.parametrize("name", NOT_INVERTIBLE)
def test_rejects_maps_that_are_not_invertible(name: str, rng: np.random.Generator) -> None:
    wrong, message = NOT_INVERTIBLE[name]
    with pytest.raises(AssertionError, match=message):
        check_invertible(wrong, X, rng=rng)


class ZeroInitialised(Bijection):
    """A coupling layer whose network ends in a layer initialised to zero."""

    def __init__(self) -> None:
        self.hidden, self.out = Parameter(X[:2, :2], np.float64), Parameter(np.zeros((2, 2)), np.float64)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        return joined(x, array_of(x)[:, 2:] + self._shift(x)), Tensor(np.zeros(len(array_of(x))))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return joined(z, array_of(z)[:, 2:] - self._shift(z)), Tensor(np.zeros(len(array_of(z))))

    def _shift(self, x: TensorLike) -> Tensor:
        return matmul(tanh(matmul(array_of(x)[:, :2], self.hidden)), self.out)


@pytest.mark.parametrize("check", CHECKS)
def test_rejects_vacuous_checks(check: Check, rng: np.random.Generator) -> None:
    for identity in (Coupling(scale=0.0), Coupling(scale=1e-5), ZeroInitialised(), ForwardTwice(scale=0.0)):
        with pytest.raises(AssertionError, match="Randomise its parameters"):
            check(identity, X, rng=rng)
    # The chain is not the identity, but one bijection in it is.
    with pytest.raises(AssertionError, match=r"parameter bijections.1.hidden changes nothing"):
        check(Chain(Affine(2.0), ZeroInitialised()), X, rng=rng)
    with pytest.raises(AssertionError, match="ignores its context"):
        check(IgnoresContext(), X, context=CLASSES, rng=rng)


class Faulty(Affine):
    """An affine map with a fault that is not specific to bijections."""

    def __init__(self, fault: str) -> None:
        super().__init__(2.0)
        self.fault = fault

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        z, log_det = super().forward(x)
        if self.fault == "in place":
            array_of(x)[0] = 0
        changed = {"float32": z.astype(np.float32), "NaN": z * np.nan, "dimension": z[:, :3]}
        return changed.get(self.fault, z), log_det


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("in place", "modifies its argument x in place"),
        ("float32", "expected float64, got float32"),
        ("NaN", "expected finite numbers, got 16 of 16 that are NaN"),
        ("dimension", "preserves the dimension"),
    ],
)
def test_rejects_faults_that_are_not_specific_to_bijections(fault: str, message: str, rng: np.random.Generator) -> None:
    for check in CHECKS:
        with pytest.raises(AssertionError, match=message):
            check(Faulty(fault), X, rng=rng)


class NotConverged(Affine):
    """An affine map whose inverse is rounded to multiples of 10⁻⁴, as if a solver had stopped early."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = super().inverse(z)
        return Tensor(np.round(x.value, 4)), log_det


def test_rejects_an_inverse_that_has_not_converged(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="instead of"):
        check_invertible(NotConverged(2.0), X, rng=rng)
    with pytest.raises(AssertionError, match=r"converged only to within .* or an inverse that has not converged"):
        check_log_det(NotConverged(2.0), X, rng=rng)


@pytest.mark.parametrize("check", CHECKS)
def test_rejects_float32_parameters(check: Check, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"parameter \S+: expected float64, got float32"):
        check(Coupling().astype(np.float32), X, rng=rng)


def test_rejects_unsuitable_arguments(rng: np.random.Generator) -> None:
    for check in CHECKS:
        with pytest.raises(ValueError, match=r"x: expected at least 2 examples along axis 0, got an array of shape"):
            check(Coupling(), X[:1], rng=rng)
        with pytest.raises(ValueError, match="x: expected float64, got float32"):
            check(Coupling(), X.astype(np.float32), rng=rng)
        with pytest.raises(ValueError, match="x: expected finite numbers, got 16 of 16"):
            check(Coupling(), X * np.inf, rng=rng)
        with pytest.raises(ValueError, match="context: expected 4 rows that are not all equal"):
            check(Coupling(context_layers=4), X, context=np.ones((4, 4)), rng=rng)
