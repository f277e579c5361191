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
    """Check that samples follow a discrete density, by Pearson's χ² test over its support.

        χ² = Σ (observed − expected)² / expected,   expected = n exp log_prob(x)

    Values with an expected count below 5 are pooled. If there are few values, a probability p that is wrong by a factor
    1 + δ is detected if n p δ² exceeds about 40. Counts that are too close to the expected ones are rejected, too,
    unless there are fewer than 5 values, for which an exact match is not improbable. The samples must depend on the
    seed of rng and on nothing else, and NumPy's global random state must not be used.

    Args:
        sample: called as sample(n, rng). A sampler of PyTorch draws its seed from rng, such as
            torch.manual_seed(int(rng.integers(1 << 62))).
        log_prob: maps values to their log-probabilities, in nats.
        support: all values, each once, as from `enumerate_support`.
        n: the number of samples.
        p_value: the probability of rejecting a correct sampler, in each tail.
        convert: maps support to what log_prob takes, such as torch.from_numpy.

    Shapes: support (values, …), sample(n, rng) (n, …), log_prob(support) (values,).
    Raises: AssertionError with the likely fault; ValueError if n is too small for a test.
    Checked by: tests/testing/test_sampling.py

    Example:
        >>> coin, fair = np.array([[0], [1]]), lambda x: np.full(len(x), np.log(0.5))
        >>> check_sampler(lambda n, rng: rng.integers(0, 2, (n, 1)), fair, coin, rng=np.random.default_rng(0))
        >>> check_sampler(lambda n, rng: rng.integers(0, 3, (n, 1)) % 2, fair, coin, rng=np.random.default_rng(0))
        Traceback (most recent call last):
        AssertionError: check_sampler: χ² = ... The largest term is [1]: drawn ... times, expected 10000. ...
    """
    check_rng(rng)
    at_least(1, n=n)
    check_p_value(p_value)
    check_input("support", support, kinds="fiub")
    samples, constant = _draw(Function("check_sampler", "sample", sample, ["n", "rng"]), n, support, rng)
    probabilities = np.exp(evaluate("check_sampler", log_prob, support, convert)[0])
    if constant and np.count_nonzero(probabilities > 0) > 1:
        raise AssertionError("check_sampler: another seed gives the same samples; is rng ignored?")
    total = math.fsum(probabilities)
    if not abs(total - 1) < 1e-5:  # float32 reaches this tolerance, and the test could not detect a smaller error
        raise AssertionError(f"check_sampler: log_prob sums to {total:.9g}, but should sum to 1; see check_normalised")
    observed = _count(samples, support)
    impossible = np.flatnonzero((probabilities == 0) & (observed > 0))
    if len(impossible):
        raise AssertionError(f"check_sampler: {support[impossible[0]].tolist()} was drawn, but its probability is 0")
    _chi_square_test(observed, probabilities, support, n, p_value)


def _chi_square_test(observed: Array, probabilities: Array, support: Array, n: int, p_value: float) -> None:
    """Compare the counts of the values with n × probabilities, pooling the rare ones."""
    expected = n * probabilities / probabilities.sum()
    rare = expected < 5
    if expected[rare].sum() < 5:  # the pooled count is still too small: add the rarest other value
        rare[np.argmin(np.where(rare, np.inf, expected))] = True
    counts = np.append(observed[~rare], observed[rare].sum())
    means = np.append(expected[~rare], expected[rare].sum())
    if len(means) < 2:
        raise ValueError(f"check_sampler: n = {n} samples of {len(support)} values are too few for a χ² test")
    terms = (counts - means) ** 2 / means
    statistic, freedom = float(terms.sum()), len(means) - 1
    upper = _chi_square_tail(statistic, freedom)
    too_close = freedom > 3 and upper > 1 - p_value
    record(f"χ² = {statistic:.4g} with {freedom} degrees of freedom, P(χ² larger) = {upper:.2g}, at least {p_value:g}")
    if not upper >= p_value or too_close:
        worst = int(np.argmax(terms))
        value = support[~rare][worst].tolist() if worst < len(means) - 1 else f"the {rare.sum()} rarest values"
        cause = (
            "The counts are too close to the expected ones: are the samples independent?"
            if too_close
            else f"The largest term is {value}: drawn {counts[worst]:g} times, expected {means[worst]:.6g}. A wrong "
            f"temperature, shifted levels, or conditioning on the wrong pixels?"
        )
        raise AssertionError(
            f"check_sampler: χ² = {statistic:.6g} with {freedom} degrees of freedom, P(χ² larger) = {upper:.3g}, "
            f"outside {p_value:g} … 1 − {p_value:g}. {cause}"
        )


def _draw(sample: Function, n: int, support: Array, rng: np.random.Generator) -> tuple[Array, bool]:
    """Draw n samples, check where their randomness comes from, and return whether another seed gives the same ones."""
    seeds = rng.integers(1 << 62, size=2)
    before = np.random.get_state()  # noqa: NPY002  to detect whether `sample` uses it
    first, again, other = (sample(n, np.random.default_rng(seed)) for seed in (seeds[0], *seeds))
    if not all(map(np.array_equal, before, np.random.get_state())):  # noqa: NPY002
        raise AssertionError("check_sampler: sample uses NumPy's global random state instead of its rng")
    if first.shape != (shape := (n, *support.shape[1:])):
        raise AssertionError(f"check_sampler: sample({n}, rng): expected shape {shape}, got {first.shape}")
    sample.finite(first, remedy="has the model diverged?")
    if not np.array_equal(first, again):
        raise AssertionError("check_sampler: the same seed gives different samples; does sample use another generator?")
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
    if x == 0:
        return 1.0
    if statistic > freedom + 20 * math.sqrt(freedom) + 200:  # Laurent & Massart, 2000: the tail is below e⁻¹⁰⁰
        return 0.0
    k = np.arange(1, int(x + 12 * math.sqrt(x)) + 40)
    log_terms = a * math.log(x) - x - math.lgamma(a + 1) + np.append(0, np.cumsum(np.log(x / (a + k))))
    return max(0.0, 1 - float(np.exp(log_terms).sum()))
