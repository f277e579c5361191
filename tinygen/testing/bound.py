"""Check that a lower bound of a log-likelihood, such as an ELBO, is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_rng, require
from .calls import Convert, Function, check_input, check_p_value, check_positive, record, resolution
from .densities import evaluate

_BLOCK = 4096  # examples in one call


def check_bound(
    bound: Callable[..., Any],
    log_prob: Callable[..., Any],
    x: Array,
    *,
    draws: int = 1000,
    gap: float | None = None,
    rng: np.random.Generator,
    p_value: float = 1e-6,
    convert: Convert = None,
) -> None:
    """Check that the expectation of an estimate is a lower bound of the log-likelihood.

        E bound(x) ≤ ln p(x) for every example, within the standard error of a mean over `draws` estimates

    A bound that is far too low is one as well: pass `gap` to reject it. Bounds are compared with an exact
    log-likelihood, so the model must be small: enumerate or integrate its latent variables, or choose a Gaussian one.

    Args:
        bound: called as bound(x, rng), returns an estimate for each example (N,), in nats. Examples are repeated.
        log_prob: called as log_prob(x), returns ln p(x) of each example (N,), in nats.
        draws: the number of estimates for each example, large enough that the tolerance is at most 1 nat.
        gap: the largest accepted distance of the bound from ln p(x), in nats.
        p_value: the probability of rejecting a bound that is exactly ln p(x).
        convert: maps x to what the functions take, such as torch.from_numpy.

    Raises: AssertionError with the likely fault; ValueError or TypeError for unsuitable arguments or too few draws.
    Checked by: tests/testing/test_kl_and_bounds.py

    Example:
        >>> def log_normal(x, variance):
        ...     return -0.5 * (x**2 / variance + np.log(2 * np.pi * variance))
        >>> def elbo(x, rng, sign=1):  # p(z) = N(0, 1), p(x|z) = N(z, 1), q(z|x) = N(x/2, 1); KL = x²/8
        ...     z = x / 2 + rng.normal(size=len(x))
        ...     return log_normal(x - z, 1.0) - sign * x**2 / 8
        >>> x, rng = np.linspace(-2.0, 2.0, 5), np.random.default_rng(0)
        >>> check_bound(elbo, lambda x: log_normal(x, 2.0), x, rng=rng)
        >>> check_bound(lambda x, rng: elbo(3 * x, rng, -4), lambda x: log_normal(x, 2.0), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_bound: at example 0 the bound is ... ± ..., above ln p(x) = ... in ... of 5 examples. ...
    """
    check_rng(rng)
    check_p_value(p_value)
    check_positive(gap=gap)
    at_least(2, draws=draws)
    check_input("x", x, kinds="fiub")
    exact, dtype = evaluate("check_bound", log_prob, x, convert)
    if len(impossible := np.flatnonzero(~np.isfinite(exact))):
        raise ValueError(f"x: expected examples with a finite ln p(x), got −∞ at example {impossible[0]}; leave it out")
    estimates, eps = _estimates(Function("check_bound", "bound", bound, ["x", "rng"], convert), x, draws, rng)
    mean, error = estimates.mean(0), estimates.std(0, ddof=1) / math.sqrt(draws)
    quantile = NormalDist().inv_cdf(1 - p_value / len(x))
    rounding = 100 * max(eps, float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0) * np.maximum(1, np.abs(exact))
    excess, allowed = mean - exact, quantile * error + rounding
    record(f"ln p(x) − bound: {-excess.max():.4g} … {-excess.min():.4g} nats, ± {error.max():.2g}")
    if np.any(excess > allowed):
        i = int(np.argmax(excess - allowed))
        raise AssertionError(
            f"check_bound: at example {i} the bound is {mean[i]:.6g} ± {error[i]:.2g}, above ln p(x) = {exact[i]:.6g}; "
            f"it is too high in {np.count_nonzero(excess > allowed)} of {len(x)} examples. "
            + _hint(mean, exact, allowed, math.prod(x.shape[1:]))
        )
    if len(x) > 1 and np.ptp(mean) == 0 < np.ptp(exact):
        raise AssertionError(
            "check_bound: the bound is the same for all examples although ln p(x) differs; is x ignored?"
        )
    noise = float((quantile * error).max())
    require(noise <= 1, "draws", f"more than {draws}, for errors of at most 1 nat", f"± {noise:.3g} nats")
    if gap is not None and np.any(-excess > gap + allowed):
        i = int(np.argmax(-excess))
        raise AssertionError(
            f"check_bound: at example {i} the bound is {mean[i]:.6g} ± {error[i]:.2g}, {-excess[i]:.3g} nats below "
            f"ln p(x) = {exact[i]:.6g}, more than gap={gap:g}; is a term subtracted twice, or is q(z|x) far from the "
            f"posterior?"
        )


def _estimates(f: Function, x: Array, draws: int, rng: np.random.Generator) -> tuple[Array, float]:
    """Return estimates of the bound, (draws, N), in float64, and the machine epsilon of their dtype."""
    seed = int(rng.integers(1 << 62))
    first, again = (f(x, np.random.default_rng(seed)) for _ in range(2))
    if first.shape != (len(x),):
        raise AssertionError(
            f"check_bound: bound(x, rng): expected shape ({len(x)},), one per example, got {first.shape}; is there a "
            f"sum or mean over the batch, or is a sum over dimensions missing?"
        )
    if not np.array_equal(first, again, equal_nan=True):
        raise AssertionError(
            "check_bound: the same seed gives different bounds; does bound use another generator than rng?"
        )
    found = []
    per_call = max(1, _BLOCK // len(x))
    for done in range(0, draws, per_call):
        copies = min(per_call, draws - done)
        tiled = np.concatenate([x] * copies)
        found.append(f.finite(f(tiled, rng)).reshape(copies, len(x)).astype(np.float64))
    return np.concatenate(found), resolution(first)


def _hint(mean: Array, exact: Array, allowed: Array, dims: int) -> str:
    excess = mean - exact
    constant = float(excess.mean()) / (0.5 * math.log(2 * math.pi))
    whole = round(constant)
    if bool(np.all(np.abs(excess - excess.mean()) <= allowed)) and whole and abs(constant - whole) < 0.02:
        return f"It is too high by {whole} × ½ ln 2π everywhere: is the normaliser of a Gaussian missing?"
    if np.all(-mean <= exact + allowed):
        return "Its negative is a bound: is it a loss, −ELBO? Flip its sign."
    if dims > 1 and np.all(mean * dims <= exact + allowed):
        return f"It is a bound after multiplication by the {dims} dimensions: is it a mean over dimensions?"
    return "Is the KL added instead of subtracted, a term of it missing, or the density of q not that of its samples?"
