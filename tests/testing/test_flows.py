"""Negative controls: bijections with one fault each, which the checkers must see and name."""

from __future__ import annotations

import math

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


class Coupling(Bijection):
    """z_a = x_a, z_b = x_b exp s(x_a) + t(x_a): the right map, whose parts the wrong ones below replace."""

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
        contexts = 0.0 if self.c is None or context is None else matmul(context, self.c)
        return tanh(matmul(first, self.s) + contexts), tanh(matmul(first, self.t))

    def log_det(self, s: Tensor) -> Tensor:
        return s.sum(1)


def joined(x: TensorLike, second: TensorLike) -> Tensor:
    return Tensor(np.concatenate([array_of(x)[:, :2], array_of(second)], 1))


class SignFlipped(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return -s.sum(1)


class MeanOverDimensions(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s.sum(1) / 4


class MeanOverBatch(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return Tensor(np.full(len(s), s.sum(1).mean().item()))


class InBits(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s.sum(1) / math.log(2)


class Determinant(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return exp(s.sum(1))


class Scalar(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s.sum()


class NotSummed(Coupling):
    def log_det(self, s: Tensor) -> Tensor:
        return s


class InverseLogDetOfForward(Coupling):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = super().inverse(z, context)
        return x, -log_det


class ForwardTwice(Coupling):
    """The inverse of a coupling that calls forward: right as long as s and t are zero."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return self.forward(z, context)


class ScaledInTheWrongOrder(Coupling):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        s, t = self.network(z, context)
        return joined(z, array_of(z)[:, 2:] * exp(-s) - t), self.log_det(-s)


class IgnoresCondition(Coupling):
    def network(self, x: TensorLike, context: TensorLike | None) -> Pair:
        return super().network(x, None)


class ReadsTheBatch(Coupling):
    def network(self, x: TensorLike, context: TensorLike | None) -> Pair:
        s, t = super().network(x, context)
        return s - s.mean(0), t


class Triangular(Bijection):
    """z = k x + L tanh x, L strictly lower triangular: a residual block that is invertible row by row."""

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
    """A dequantisation's logit whose log_det has ln u and forgets ln(1 − u), in both directions."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        u = Tensor(array_of(x))
        return log(u) - log(1 - u), -log(u).sum(1)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return sigmoid(z), log_sigmoid(z).sum(1)


class AsymmetricLogit(HalfOfALogit):
    """Right when it takes data to noise, without its Jacobian on the way back."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        return Logit().forward(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return sigmoid(z), Tensor(np.zeros(len(array_of(z))))


class LogitOfTheWrongSign(AsymmetricLogit):
    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = Logit().inverse(z)
        return x, -log_det


def test_right_maps_pass(rng: np.random.Generator) -> None:
    stack = Chain(Coupling(), Permute(np.array([2, 0, 3, 1])), Coupling(), Affine(np.array([2.0, -3.0, 0.5, 1.0]), 1.0))
    for check in (check_invertible, check_log_det):
        check(stack, X, rng=rng)
        check(Inverse(stack), X, rng=rng)
        check(Coupling(context_layers=4), X, context=CLASSES, rng=rng)
        check(Triangular(1.0), X, rng=rng)
        check(Chain(Logit(0.05), Affine(2.0)), UNIT, rng=rng)
        check(Permute(np.array([3, 2, 1, 0])), X, rng=rng)


def test_image_shaped_events(rng: np.random.Generator) -> None:
    images = Chain(Reshape((2, 1, 2), (4,)), Coupling(), Reshape((4,), (1, 4, 1)))
    for check in (check_invertible, check_log_det):
        check(images, X.reshape(4, 2, 1, 2), rng=rng)
    with pytest.raises(AssertionError, match="sign is flipped"):
        check_log_det(Chain(Reshape((2, 2), (4,)), SignFlipped()), X.reshape(4, 2, 2), rng=rng)


def test_parameters_are_left_as_they_were(rng: np.random.Generator) -> None:
    coupling = Coupling()
    before = coupling.state()
    check_log_det(coupling, X, rng=rng)
    for name, value in coupling.state().items():
        np.testing.assert_array_equal(value, before[name])


class Stubborn(Coupling):
    """Fails as soon as a parameter of it is moved."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        before = Coupling().state()
        if any(np.any(value != before[name]) for name, value in self.state().items()):
            raise ValueError("moved")
        return super().forward(x, context)


def test_parameters_are_left_as_they_were_after_an_error_too(rng: np.random.Generator) -> None:
    stubborn = Stubborn()
    with pytest.raises(ValueError, match="moved"):
        check_log_det(stubborn, X, rng=rng)
    for name, value in stubborn.state().items():
        np.testing.assert_array_equal(value, Coupling().state()[name])


class NotOnto(Bijection):
    """z = x + ⌊x⌋ leaves every other unit interval out; what its inverse makes of one there does not come back."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(x)
        return Tensor(v + np.floor(v)), Tensor(np.zeros(len(v)))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        v = array_of(z)
        return Tensor(v - np.floor(v / 2)), Tensor(np.zeros(len(v)))


class WrongWhereTheFirstIsLarge(Coupling):
    """A log_det that is right for some examples only."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        z, log_det = super().forward(x, context)
        return z, log_det + np.where(array_of(x)[:, 0] > X[0, 0], 0.01, 0.0)


WRONG_LOG_DETS: dict[str, tuple[Bijection, str]] = {
    "sign flipped in both directions": (SignFlipped(), "The sign is flipped"),
    "mean over dimensions": (MeanOverDimensions(), "mean over dimensions"),
    "mean over the batch": (MeanOverBatch(), "examples 1… change when only example 0"),
    "bits": (InBits(), "in bits: multiply it by ln 2"),
    "determinant": (Determinant(), "take its logarithm"),
    "scalar": (Scalar(), r"is \(\), not \(4,\): one number per example"),
    "wrong for some examples": (WrongWhereTheFirstIsLarge(), "log_det of forward"),
    "not summed": (NotSummed(), r"is \(4, 2\), not \(4,\): summed over dimensions"),
    "inverse has that of forward": (InverseLogDetOfForward(), "log_det of inverse .* sign is flipped"),
    "residual block that adds x twice": (Triangular(2.0), "factor of 0.5 per dimension.*something added twice"),
    "half of a logit": (HalfOfALogit(), r"Σ ln\(1 − input\) is too much: the Jacobian of a sigmoid or logit"),
    "sigmoid without a Jacobian": (AsymmetricLogit(), r"of inverse .*Σ ln .* is missing: the Jacobian of a sigmoid"),
    "sigmoid with the wrong sign": (LogitOfTheWrongSign(), "of inverse .*The sign is flipped"),
    "sigmoid with the wrong sign, in a chain": (Chain(LogitOfTheWrongSign(), Affine(3.0)), "has the wrong sign"),
}


@pytest.mark.parametrize("name", WRONG_LOG_DETS)
def test_wrong_log_dets_are_rejected(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_LOG_DETS[name]
    with pytest.raises(AssertionError, match=message):
        check_log_det(wrong, UNIT if "logit" in name or "sigmoid" in name else X, rng=rng)


@pytest.mark.parametrize("wrong", [SignFlipped(), Triangular(2.0), InBits(), HalfOfALogit()])
def test_a_round_trip_cannot_see_a_log_det_that_is_wrong_both_ways(wrong: Bijection, rng: np.random.Generator) -> None:
    """Which is why there are two checks."""
    check_invertible(wrong, UNIT if isinstance(wrong, HalfOfALogit) else X, rng=rng)


NOT_INVERTIBLE: dict[str, tuple[Bijection, str]] = {
    "forward twice": (ForwardTwice(), "both methods compute the same map"),
    "scaled in the wrong order": (ScaledInTheWrongOrder(), "scale and shift undone in theirs"),
    "inverse has the log_det of forward": (InverseLogDetOfForward(), "One of them is that of the other direction"),
    "the batch is read": (ReadsTheBatch(), "examples 1… change when only example 0"),
    "scalar": (Scalar(), r"is \(\), not \(4,\)"),
    "not onto": (NotOnto(), r"forward\(inverse\(·\)\) is"),
}


@pytest.mark.parametrize("name", NOT_INVERTIBLE)
def test_maps_that_are_not_invertible_are_rejected(name: str, rng: np.random.Generator) -> None:
    wrong, message = NOT_INVERTIBLE[name]
    with pytest.raises(AssertionError, match=message):
        check_invertible(wrong, X, rng=rng)


class Bottleneck(Bijection):
    """Two layers, the last initialised to zero: what a new coupling is."""

    def __init__(self) -> None:
        self.hidden, self.out = Parameter(X[:2, :2], np.float64), Parameter(np.zeros((2, 2)), np.float64)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        return joined(x, array_of(x)[:, 2:] + self._shift(x)), Tensor(np.zeros(len(array_of(x))))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        return joined(z, array_of(z)[:, 2:] - self._shift(z)), Tensor(np.zeros(len(array_of(z))))

    def _shift(self, x: TensorLike) -> Tensor:
        return matmul(tanh(matmul(array_of(x)[:, :2], self.hidden)), self.out)


@pytest.mark.parametrize("check", [check_invertible, check_log_det])
def test_what_would_hold_of_anything_is_refused(check, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    for idle in (Coupling(scale=0.0), Coupling(scale=1e-5), Bottleneck(), ForwardTwice(scale=0.0)):
        with pytest.raises(AssertionError, match="Randomise its parameters"):
            check(idle, X, rng=rng)
    # Not the identity as a whole, yet a coupling in it is.
    with pytest.raises(AssertionError, match=r"parameter bijections.1.hidden changes nothing"):
        check(Chain(Affine(2.0), Bottleneck()), X, rng=rng)
    with pytest.raises(AssertionError, match="ignores its context"):
        check(IgnoresCondition(), X, context=CLASSES, rng=rng)


class NotThatOfTheTitle(Affine):
    """Faults that any function may have."""

    def __init__(self, fault: str) -> None:
        super().__init__(2.0)
        self.fault = fault

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> Pair:
        z, log_det = super().forward(x)
        if self.fault == "writes":
            array_of(x)[0] = 0
        changed = {"float32": z.astype(np.float32), "NaN": z * np.nan, "drops": z[:, :3]}
        return changed.get(self.fault, z), log_det


@pytest.mark.parametrize(
    ("fault", "message"),
    [("writes", "writes into its"), ("float32", "to float32"), ("NaN", "gives NaN"), ("drops", "keeps the dimensions")],
)
def test_other_faults_are_rejected(fault: str, message: str, rng: np.random.Generator) -> None:
    for check in (check_invertible, check_log_det):
        with pytest.raises(AssertionError, match=message):
            check(NotThatOfTheTitle(fault), X, rng=rng)


class NotConverged(Affine):
    """An inverse that stops early, at a multiple of 10⁻⁴."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> Pair:
        x, log_det = super().inverse(z)
        return Tensor(np.round(x.value, 4)), log_det


def test_an_inverse_that_has_not_converged_is_rejected(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="instead of"):
        check_invertible(NotConverged(2.0), X, rng=rng)
    with pytest.raises(AssertionError, match="have not settled"):
        check_log_det(NotConverged(2.0), X, rng=rng)


@pytest.mark.parametrize("check", [check_invertible, check_log_det])
def test_parameters_in_float32_are_too_coarse(check, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"parameter \S+ is float32, too coarse"):
        check(Coupling().astype(np.float32), X, rng=rng)


def test_requests_without_sense_are_refused(rng: np.random.Generator) -> None:
    for check in (check_invertible, check_log_det):
        for x in (X[:1], X.astype(np.float32), X * np.inf):
            with pytest.raises(ValueError, match="x: expected at least 2 examples of finite float64"):
                check(Coupling(), x, rng=rng)
        with pytest.raises(ValueError, match="context: expected 4 rows, not all alike"):
            check(Coupling(context_layers=4), X, context=np.ones((4, 4)), rng=rng)
