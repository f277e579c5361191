"""Inception Score, Fréchet distance and bootstrap: identities and closed forms that a wrong formula would violate."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import softmax
from tinygen.metrics import bootstrap, fid, frechet_distance, inception_score

SEEDS = st.integers(0, 2**32)


@given(n=st.integers(1, 20), classes=st.integers(1, 6), spread=st.floats(0, 8), seed=SEEDS)
def test_inception_score_is_a_mutual_information(n: int, classes: int, spread: float, seed: int) -> None:
    p = np.asarray(softmax(np.random.default_rng(seed).normal(size=(n, classes)) * spread).value)
    score = inception_score(p)
    kl = np.sum(p * (np.log(p) - np.log(p.mean(0))), axis=1)
    assert score == pytest.approx(np.exp(kl.mean()), rel=1e-9)
    assert 1 - 1e-12 <= score <= classes + 1e-9


def test_inception_score_has_known_values() -> None:
    assert inception_score(np.tile(np.eye(5), (3, 1))) == pytest.approx(5, rel=1e-12)  # sharp and balanced
    assert inception_score(np.tile([0.2, 0.3, 0.5], (4, 1))) == pytest.approx(1, rel=1e-12)  # no information
    logits = np.array([[1, 2, 3], [-1, 5, 3.1]])
    assert inception_score(softmax(logits).value) == pytest.approx(1.24358, abs=5e-6)


def covariance(d: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random positive definite matrix (d, d)."""
    a = rng.normal(size=(d, d))
    return a @ a.T + 0.1 * np.eye(d)


@given(d=st.integers(1, 6), seed=SEEDS)
def test_frechet_distance_is_a_metric_of_gaussians(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (m, s), (n, t), (o, u) = ((rng.normal(size=d), covariance(d, rng)) for _ in range(3))
    scale = np.trace(s) + np.trace(t)
    distance = frechet_distance(m, s, n, t)
    assert frechet_distance(m, s, m, s) == pytest.approx(0, abs=1e-10 * scale)
    assert distance == pytest.approx(frechet_distance(n, t, m, s), rel=1e-8, abs=1e-10 * scale)
    assert (
        distance <= (np.sqrt(frechet_distance(m, s, o, u)) + np.sqrt(frechet_distance(o, u, n, t))) ** 2 + 1e-9 * scale
    )
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    rotated = [rotation @ m, rotation @ s @ rotation.T, rotation @ n, rotation @ t @ rotation.T]
    assert frechet_distance(*rotated) == pytest.approx(distance, rel=1e-8, abs=1e-10 * scale)


@given(d=st.integers(1, 6), s=st.floats(0.1, 3), seed=SEEDS)
def test_frechet_distance_from_standard_normal_matches_closed_form(d: int, s: float, seed: int) -> None:
    m = np.random.default_rng(seed).normal(size=d)
    found = frechet_distance(np.zeros(d), np.eye(d), m, s**2 * np.eye(d))
    assert found == pytest.approx(m @ m + d * (1 - s) ** 2, rel=1e-9, abs=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute() -> None:
    # For these, the elementwise root of Σ_a Σ_b gives another value.
    a, b = np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 9.0]])
    product = a @ b  # a 2×2 matrix: tr √M = √(tr M + 2 √det M)
    expected = np.trace(a) + np.trace(b) - 2 * np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert frechet_distance(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected, rel=1e-12)
    wrong = np.trace(a) + np.trace(b) - 2 * np.trace(np.sqrt(np.abs(product)))
    assert abs(wrong - expected) > 0.1


def test_fid_of_singular_covariances_is_finite_and_real(rng: np.random.Generator) -> None:
    flat = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 5))
    assert fid(flat, flat) == pytest.approx(0, abs=1e-6)  # rounding error √ε ‖Σ‖
    assert np.isfinite(fid(flat, rng.normal(size=(50, 5))))


def test_fid_of_samples_approximates_that_of_their_gaussians(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(20_000, 3)), rng.normal(size=(20_000, 3)) * 2 + [1, 0, 0]
    assert fid(a, b) == pytest.approx(1 + 3, rel=0.05)  # about three standard errors for 20,000 samples
    assert fid(a, a) == pytest.approx(0, abs=1e-9)


def test_fid_of_one_feature_matches_closed_form(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(7, 1)), 2 * rng.normal(size=(5, 1)) + 1
    exact = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert fid(a, b) == pytest.approx(exact, rel=1e-9)


def test_bootstrap_interval_of_a_mean_has_the_nominal_coverage(rng: np.random.Generator) -> None:
    covered = 0
    for _ in range(100):
        x = rng.normal(size=100)
        value, low, high = bootstrap(lambda x: float(x.mean()), x, rng=rng, rounds=200)
        assert value == pytest.approx(x.mean(), abs=0.05)  # unbiased; 200 rounds give a standard error of 0.1/√200
        covered += low < 0 < high
    assert 85 <= covered <= 100  # expected 95; allows four standard errors and a slightly narrow interval


def test_bootstrap_resamples_each_set_independently_at_its_size(rng: np.random.Generator) -> None:
    x = rng.normal(size=400)

    def difference(a: Any, b: Any) -> float:
        assert (len(a), len(b)) == (400, 100)
        return float(a.mean() - b.mean())

    _, low, high = bootstrap(difference, x, x[:100], rng=rng, rounds=400)
    expected = 2 * 1.96 * np.sqrt(x.var() / 400 + x[:100].var() / 100)
    assert high - low == pytest.approx(expected, rel=0.25)  # three standard errors of the quantiles
    same = bootstrap(lambda a, b: float(a.mean() - b.mean()), x, x, rng=rng, rounds=50)
    assert same.high - same.low > 0.1  # it would be 0 if both sets were resampled with the same indices


def test_bootstrap_interval_width_depends_on_the_coverage(rng: np.random.Generator) -> None:
    x = rng.normal(size=100)
    widths = []
    for coverage in (0.5, 0.95):
        _, low, high = bootstrap(
            lambda x: float(x.mean()), x, rng=np.random.default_rng(0), rounds=2000, coverage=coverage
        )
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(0.6745 / 1.96, rel=0.1)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "f2", "f4"])
def test_bootstrap_computes_in_double_precision(dtype: str, rng: np.random.Generator) -> None:
    x = (np.arange(100) > 20).astype(dtype)
    first, second = (bootstrap(lambda x: x.max(), each, rng=np.random.default_rng(0)) for each in (x, x.astype(float)))
    assert first == second
    constant = np.full(100, 40_000, np.float16)  # twice the largest would be inf
    assert bootstrap(lambda x: x[0], constant, rng=rng) == (40_000, 40_000, 40_000)


def test_frechet_distance_accepts_covariances_in_single_precision(rng: np.random.Generator) -> None:
    root = rng.normal(size=(30, 30)).astype(np.float32)
    cov = root @ np.diag(np.arange(30, dtype=np.float32)) @ root.T  # symmetric up to rounding
    assert frechet_distance(np.zeros(30), cov, np.ones(30), cov) == pytest.approx(30, abs=0.1)


def test_bootstrap_corrects_the_bias_of_fid(rng: np.random.Generator) -> None:
    d, sigma = 8, 1.3
    truth, plain, corrected, basic, percentile = d * (1 - sigma) ** 2, [], [], 0, 0
    for _ in range(60):
        a, b = rng.normal(size=(100, d)), sigma * rng.normal(size=(100, d))
        value, low, high = bootstrap(fid, a, b, rng=rng, rounds=60)
        plain.append(fid(a, b))
        corrected.append(value)
        basic += low < truth < high
        percentile += 2 * plain[-1] - high < truth < 2 * plain[-1] - low
    assert np.mean(plain) > 1.5 * truth
    assert np.mean(corrected) == pytest.approx(truth, abs=0.2 * truth)  # four standard errors
    assert basic >= 50  # 57 ± 1.7 of 60
    assert percentile < 10  # negative control: the percentile interval fails


INVALID: list[tuple[Any, str]] = [
    (lambda: inception_score([[1.0, 2.0], [0.0, 1.0]]), "probabilities: expected rows"),
    (lambda: inception_score([[0.5, 0.49]]), "probabilities: expected rows"),
    (lambda: inception_score([[1.5, -0.5]]), "probabilities: expected rows"),
    (lambda: inception_score(np.zeros((0, 3))), r"probabilities: expected shape"),
    (lambda: inception_score([[np.nan, 1.0]]), "probabilities: expected finite"),
    (lambda: fid(np.zeros((3, 3)), np.zeros((9, 3))), "features_a: expected more than 3 samples"),
    (lambda: fid(np.zeros((9, 3)), np.zeros((9, 2))), "features_b: expected 3 features"),
    (lambda: fid(np.zeros((9, 3)), np.full((9, 3), np.inf)), "features_b: expected finite"),
    (lambda: frechet_distance([0, 0], np.eye(3), [0, 0], np.eye(2)), "cov_a: expected finite numbers"),
    (lambda: frechet_distance([0, 0], np.eye(2), [0, 0], np.triu(np.ones((2, 2)))), "cov_b: expected a symmetric"),
    (lambda: frechet_distance([0, 0], np.eye(2), [0], np.eye(2)), "mean_b"),
    (lambda: frechet_distance([0, 0], [[1, 5], [5, 1]], [0, 0], np.eye(2)), "cov_a: .*eigenvalue -4"),
    (lambda: frechet_distance(np.array([0, np.nan]), np.eye(2), np.zeros(2), np.eye(2)), "mean_a: .*, got NaN or inf"),
    (
        lambda: frechet_distance([0, 0], 1e308 * np.eye(2), [0, 0], np.eye(2)),
        "mean_a, mean_b, cov_a, cov_b: .*overflow",
    ),
    (
        lambda: frechet_distance(np.full(2, 1e200), np.eye(2), np.zeros(2), np.eye(2)),
        "mean_a, mean_b, cov_a, cov_b: .*overflow",
    ),
    (lambda: bootstrap(np.mean, [], rng=np.random.default_rng(0)), "samples"),
    (lambda: bootstrap(np.mean, [1.0], rng=np.random.default_rng(0), rounds=1), "rounds"),
    (lambda: bootstrap(np.mean, [1.0], rng=np.random.default_rng(0), rounds=2.5), "rounds: expected an integer"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), INVALID)
def test_rejects_invalid_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@given(exponent=st.floats(-290, 290), seed=SEEDS)
def test_frechet_distance_is_proportional_to_the_covariances(exponent: float, seed: int) -> None:
    rng, scale, zero = np.random.default_rng(seed), 10.0**exponent, np.zeros(3)
    a, b = (m @ m.T for m in rng.normal(size=(2, 3, 3)))
    expected = frechet_distance(zero, a, zero, b)
    assert frechet_distance(zero, a * scale, zero, b * scale) / scale == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("bad", ["0.5", np.complex64(1), None, [1.0]])
def test_bootstrap_refuses_a_statistic_that_is_no_number(bad: Any) -> None:
    with pytest.raises(ValueError, match="statistic: expected a function that returns a number, got one that returned"):
        bootstrap(lambda x: bad, np.arange(4), rng=np.random.default_rng(0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bootstrap_refuses_a_statistic_that_is_not_finite(bad: float) -> None:
    values = iter([1.0] * 100 + [bad] + [1.0] * 200)
    for statistic in (lambda x: bad, lambda x: next(values)):
        with pytest.raises(ValueError, match="statistic: expected finite values"):
            bootstrap(statistic, np.arange(4), rng=np.random.default_rng(0))
