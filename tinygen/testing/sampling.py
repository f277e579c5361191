"""Check that a sampler follows its density."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_rng
from .calls import Convert, Function, check_input, check_p_value, record
from .densities import LogProb, evaluate

Sample = Callable[..., Any]


def check_sampler(
    sample: Sample,
    log_prob: LogProb,
    support: Array,
    n: int = 20_000,
    *,
    rng: np.random.Generator,
    p_value: float = 1e-6,
    convert: Convert = None,
) -> None:
    """Check that samples follow a discrete density, by Pearson's χ² test and by the count of each value.

        χ² = Σ (observed − expected)² / expected,   expected = n exp log_prob(x)

    Values with an expected count below 5 are grouped with the next more probable ones, and none alone may be drawn
    improbably often or rarely. If there are few values, a probability p that is wrong by a factor 1 + δ is detected if
    n p δ² exceeds about 40; smaller errors of values that share a group may cancel. Counts that are too close to the
    expected ones are rejected, too, unless an exact match is not improbable, as for few groups or small counts.
    The samples must depend on the seed of rng and on nothing else, and NumPy's global random state must not be used.

    Args:
        sample: called as sample(n, rng). A sampler of PyTorch draws its seed from rng, such as
            torch.manual_seed(int(rng.integers(1 << 62))).
        log_prob: maps values to their log-probabilities, in nats.
        support: all values, each once, as from `enumerate_support`.
        n: the number of samples.
        p_value: about the probability of rejecting a correct sampler by each of three tests: χ² that is too large, χ²
            that is too small, and the count of a value.
        convert: maps support to what log_prob takes, such as torch.from_numpy.

    Shapes: support (values, …), sample(n, rng) (n, …), log_prob(support) (values,).
    Raises: AssertionError with the likely fault; ValueError if n is too small for a test.
    Checked by: tests/testing/test_sampling.py

    Example:
        >>> coin, fair = np.array([[0], [1]]), lambda x: np.full(len(x), np.log(0.5))
        >>> check_sampler(lambda n, rng: rng.integers(0, 2, (n, 1)), fair, coin, rng=np.random.default_rng(0))
        >>> check_sampler(lambda n, rng: rng.integers(0, 3, (n, 1)) % 2, fair, coin, rng=np.random.default_rng(0))
        Traceback (most recent call last):
        AssertionError: check_sampler: χ² = ... The least likely count is that of [1]: drawn ... ...
    """
    check_rng(rng)
    at_least(1, n=n)
    check_p_value(p_value)
    check_input("support", support, kinds="fiub")
    samples, tied = draw(Function("check_sampler", "sample", sample, ["n", "rng"]), n, support.shape[1:], rng)
    probabilities = np.exp(evaluate("check_sampler", log_prob, support, convert)[0])
    total = math.fsum(probabilities)
    if not abs(total - 1) < 1e-5:  # float32 reaches this tolerance, and the test could not detect a smaller error
        raise AssertionError(f"check_sampler: log_prob sums to {total:.9g}, but should sum to 1; see check_normalised")
    observed = _count(samples, support)
    impossible = np.flatnonzero((probabilities == 0) & (observed > 0))
    if len(impossible):
        raise AssertionError(f"check_sampler: {support[impossible[0]].tolist()} was drawn, but its probability is 0")
    if tied and observed @ np.log(np.maximum(probabilities, 1e-300)) < math.log(p_value):  # the probability of a tie
        raise AssertionError("check_sampler: another seed gives the same samples; is rng ignored?")
    _compare_counts(observed, n * probabilities / total, support, p_value, rng)


def _compare_counts(observed: Array, expected: Array, support: Array, p_value: float, rng: np.random.Generator) -> None:
    """Compare the counts of groups of values by χ², and the count of each value by a bound of its probability."""
    groups = _groups(expected, rng)
    counts, means = np.bincount(groups, observed), np.bincount(groups, expected)
    if (freedom := len(means) - 1) == 0:
        raise ValueError(f"check_sampler: {observed.sum()} samples of {len(support)} values are too few for a χ² test")
    statistic = float(((counts - means) ** 2 / means).sum())
    pearson = _chi_square_tail(statistic, freedom)
    # With a few small counts, Pearson's statistic exceeds its quantile too often; with many, the likelihood ratio does.
    upper = max(pearson, _chi_square_tail(2 * float(_deviances(counts, means).sum()), freedom))
    deviances = _deviances(observed, expected)
    worst = int(np.argmax(deviances))
    single = 2 * np.count_nonzero(expected) * math.exp(-deviances[worst])  # Chernoff's bound of both tails of a count
    # The probability that all counts are the expected ones, 1/√(2π m) each, but their sum is given
    exact = math.exp(0.5 * math.log(2 * math.pi * means.sum()) - 0.5 * float(np.log(2 * math.pi * means).sum()))
    too_close = pearson > 1 - p_value and exact < p_value
    record(f"χ² = {statistic:.4g} with {freedom} degrees of freedom, P(χ² larger) = {upper:.2g}, at least {p_value:g}")
    if min(upper, single) < p_value or too_close:
        cause = (
            "The counts are too close to the expected ones: are the samples independent?"
            if too_close
            else f"The least likely count is that of {support[worst].tolist()}: drawn {observed[worst]} times, "
            f"expected {expected[worst]:.6g}. A wrong temperature, shifted levels, or conditioning on the wrong pixels?"
        )
        raise AssertionError(
            f"check_sampler: χ² = {statistic:.6g} with {freedom} degrees of freedom; P(χ² larger) = {upper:.3g} or the "
            f"probability of a single count, {min(1.0, single):.3g}, is outside {p_value:g} … 1 − {p_value:g}. {cause}"
        )


def _groups(expected: Array, rng: np.random.Generator) -> Array:
    """Return the group of each value, in order of probability; each group has an expected count of at least 5.

    Equal probabilities are ordered at random, so that no regular pattern of errors cancels within all groups.
    """
    groups, group, total = np.empty(len(expected), int), 0, 0.0
    for i in np.lexsort((rng.random(len(expected)), expected)):
        if total >= 5:
            group, total = group + 1, 0.0
        groups[i] = group
        total += expected[i]
    return np.minimum(groups, max(0, group - (total < 5)))


def _deviances(counts: Array, means: Array) -> Array:
    """Return c ln(c/m) − c + m for counts c and their means m: e⁻ᵈ bounds the probability of a count as far from m."""
    return np.asarray(counts * np.log(np.maximum(counts, 1) / np.maximum(means, 1e-300)) - counts + means)


def draw(sample: Function, n: int, event: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, bool]:
    """Draw samples (n, *event), check that they depend only on rng; return also whether another seed gives the same."""
    seeds = rng.integers(1 << 62, size=2)
    before = np.random.get_state()  # noqa: NPY002  to detect whether `sample` uses it
    first, again, other = (sample(n, np.random.default_rng(seed)) for seed in (seeds[0], *seeds))
    if not all(map(np.array_equal, before, np.random.get_state())):  # noqa: NPY002
        raise AssertionError(f"{sample.checker}: sample uses NumPy's global random state instead of its rng")
    if first.shape != (shape := (n, *event)):
        raise AssertionError(f"{sample.checker}: sample({n}, rng): expected shape {shape}, got {first.shape}")
    sample.finite(first, remedy="has the model diverged?")
    if not np.array_equal(first, again):
        raise AssertionError(
            f"{sample.checker}: the same seed gives different samples; does sample use another generator than rng?"
        )
    return first, np.array_equal(first, other)


def _count(samples: Array, support: Array) -> Array:
    """Return how often each value of the support was drawn."""
    if samples.dtype.kind == support.dtype.kind == "f":  # ⅓ in float32 is not ⅓ in float64
        narrow = min(samples.dtype, support.dtype, key=lambda dtype: dtype.itemsize)
        samples, support = samples.astype(narrow), support.astype(narrow)
    both = np.concatenate([support, samples]).reshape(len(support) + len(samples), -1)
    _, which = np.unique(both, axis=0, return_inverse=True)
    which = which.reshape(-1)
    counts = np.bincount(which)
    stray = np.flatnonzero(~np.isin(which, which[: len(support)]))
    if len(stray):
        raise AssertionError(
            f"check_sampler: {len(stray)} of {len(samples)} samples are not in the support, such as "
            f"{both[stray[0]].reshape(support.shape[1:]).tolist()}; shifted levels, or 0 … 255 instead of 0 … 1?"
        )
    return np.asarray(counts[which[: len(support)]] - 1)  # subtract the occurrence in the support itself


def _chi_square_tail(statistic: float, freedom: int) -> float:
    """Return P(χ² > statistic), to an absolute error of 1e-12.

        P(χ² > 2x) = 1 − Σₖ xᵃ⁺ᵏ e⁻ˣ / Γ(a + k + 1) over k ≥ 0,   a = freedom / 2

    Source: Press et al., "Numerical Recipes", section 6.2, the series of the incomplete gamma function.
    """
    a, x = freedom / 2, statistic / 2
    if x <= 0:  # below 0 by rounding
        return 1.0
    if statistic > freedom + 20 * math.sqrt(freedom) + 200:  # Laurent & Massart, 2000: the tail is below e⁻¹⁰⁰
        return 0.0
    k = np.arange(1, int(x + 12 * math.sqrt(x)) + 40)
    log_terms = a * math.log(x) - x - math.lgamma(a + 1) + np.append(0, np.cumsum(np.log(x / (a + k))))
    return max(0.0, 1 - float(np.exp(log_terms).sum()))
