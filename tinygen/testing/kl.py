"""Check a closed-form KL divergence against a Monte Carlo estimate."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_rng
from .calls import Convert, Function, as_array, check_p_value, record


def check_kl(
    kl: Any,
    q: Any,
    p: Any,
    *,
    n: int = 100_000,
    rng: np.random.Generator,
    p_value: float = 1e-6,
    convert: Convert = None,
) -> None:
    """Check that kl is KL(q ‖ p), within the standard error of an estimate from samples of q.

        KL(q ‖ p) = E_q [ln q(x) − ln p(x)] ≈ mean over n samples ± standard deviation / √n

    It sees errors that exceed about five standard errors, and trusts q: check its sampler with `check_sampler` if you
    wrote that too.

    Args:
        kl: the value to check, a number, or an array (*batch) of several, or a function without arguments.
        q: a pair (sample, log_prob) of functions, or an object with these methods: sample(n, rng) returns
            (n, *batch, …) and log_prob(x) returns (n, *batch), in nats.
        p: log_prob, or the same as q. If p has samples too, the wrong direction KL(p ‖ q) is named.
        n: the number of samples.
        p_value: the probability of rejecting a correct value.
        convert: maps the samples to what log_prob takes, such as torch.from_numpy.

    Raises: AssertionError with the likely fault; ValueError if n is too small, and as `check_sampler` does.
    Checked by: tests/testing/test_kl_and_bounds.py

    Example:
        >>> rng, s = np.random.default_rng(0), 0.5
        >>> def normal(sd):  # its sampler and its log-density
        ...     log_prob = lambda x: -0.5 * (x / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        ...     return lambda n, rng: sd * rng.normal(size=n), log_prob
        >>> check_kl(0.5 * (s**2 - 1) - np.log(s), normal(s), normal(1.0), rng=rng)
        >>> check_kl(0.5 * (s**-2 - 1) + np.log(s), normal(s), normal(1.0), rng=rng)
        Traceback (most recent call last):
        AssertionError: check_kl: kl is 0.806..., but ... = 0.31... ± ... It is KL(p ‖ q): the arguments are exchanged.
    """
    check_rng(rng)
    at_least(100, n=n)
    check_p_value(p_value)
    sample, log_q = _functions("q", q, convert)
    sample_p, log_p = _functions("p", p, convert)
    if sample is None:
        raise TypeError("q: expected a pair (sample, log_prob) or an object with both methods, got a function only")
    claimed = _claimed(kl)
    x = _draw(sample, n, rng)
    logs = [_log_prob(f, x) for f in (log_q, log_p)]
    _require_shapes(claimed, *logs)
    batch = claimed.shape
    measured, error = _estimate(logs[0] - logs[1])
    if not np.any(logs[0] - logs[1]):
        raise AssertionError(
            "check_kl: q and p agree on every sample, so that every formula that is 0 for q = p passes"
        )
    allowed = NormalDist().inv_cdf(1 - p_value / 2 / max(1, claimed.size)) * error + 1e-6 * np.abs(measured)
    if np.any(allowed > 0.25 * np.max(np.abs(measured))):
        raise ValueError(f"n: expected more than {n} samples, as {n} give {measured.max():.3g} ± {error.max():.2g}")
    wrong = np.abs(claimed - measured) > allowed
    record(f"KL {_number(measured)} ± {_number(error)} from {n} samples, claimed {_number(claimed)}")
    if not wrong.any():
        return
    others = _others(logs, measured, math.prod(x.shape[1 + len(batch) :]))
    if sample_p is not None:
        y = _draw(sample_p, n, rng)
        reverse = _estimate(_log_prob(log_p, y) - _log_prob(log_q, y))[0]
        others = {"It is KL(p ‖ q): the arguments are exchanged.": reverse} | others
    near = {cause: 2 * allowed + 1e-3 * np.abs(value) for cause, value in others.items()}
    causes = [cause for cause, value in others.items() if np.all(np.abs(claimed - value) <= near[cause])]
    causes.append("Is a term missing, or is a variance taken for a standard deviation, or the direction wrong?")
    place = np.unravel_index(np.argmax(np.abs(claimed - measured) / np.maximum(allowed, 1e-300)), wrong.shape)
    where = f" at {tuple(map(int, place))}" if batch else ""
    raise AssertionError(
        f"check_kl: kl is {claimed[place]:.6g}{where}, but the mean of ln q − ln p over {n} samples of q = "
        f"{measured[place]:.6g} ± {error[place]:.2g}. {causes[0]}"
    )


def _claimed(kl: Any) -> Array:
    try:
        claimed = as_array(kl() if callable(kl) else kl).astype(np.float64)
    except TypeError as failure:
        raise TypeError(
            f"kl: expected a number or an array, or a function without arguments that returns it: {failure}"
        ) from None
    if not np.all(np.isfinite(claimed)):
        raise AssertionError("check_kl: kl: expected finite numbers, got NaN or infinity")
    return claimed


def _require_shapes(claimed: Array, log_q: Array, log_p: Array) -> None:
    if log_q.shape != log_p.shape:
        raise AssertionError(f"check_kl: log_prob of q and of p: expected one shape, got {log_q.shape}, {log_p.shape}")
    batch = log_q.shape[1:]
    if claimed.shape != batch:
        more = claimed.ndim > len(batch)
        cause = "sum over dimensions" if more else "return one per distribution, not their sum or mean"
        raise AssertionError(
            f"check_kl: kl: expected shape {batch}, one KL per distribution, got {claimed.shape}; {cause}"
        )


def _others(logs: list[Array], measured: Array, dims: int) -> dict[str, Array]:
    """Return what a wrong kl may be instead, by its description."""
    others = {
        "The sign is flipped.": -measured,
        "It is in bits: multiply it by ln 2.": measured / math.log(2),
        "It is twice the right value: is the factor ½ missing?": 2 * measured,
        "It is half the right value: is a factor ½ superfluous?": measured / 2,
        "It is the cross-entropy −E_q ln p: subtract the entropy of q.": -logs[1].mean(0),
        "It is E_q ln q, the negative entropy of q: subtract E_q ln p.": logs[0].mean(0),
    }
    return (
        others
        if dims == 1
        else {f"It is a mean over the {dims} dimensions instead of a sum.": measured / dims} | others
    )


def _functions(name: str, given: Any, convert: Convert) -> tuple[Function | None, Function]:
    """Return the functions sample and log_prob of a distribution; sample is None if there is only a log_prob."""
    sample, log_prob = None, given
    if isinstance(given, tuple | list) and len(given) == 2:
        sample, log_prob = given
    elif hasattr(given, "log_prob"):
        sample, log_prob = getattr(given, "sample", None), given.log_prob
    elif not callable(given):
        kind = "None" if given is None else type(given).__name__
        raise TypeError(f"{name}: expected a pair (sample, log_prob) or an object with both methods, got {kind}")
    draw = None if sample is None else Function("check_kl", f"sample of {name}", sample, ["n", "rng"])
    return draw, Function("check_kl", f"log_prob of {name}", log_prob, ["x"], convert)


def _draw(sample: Function, n: int, rng: np.random.Generator) -> Array:
    x = sample(n, rng)
    if x.ndim == 0 or len(x) != n:
        raise AssertionError(f"check_kl: {sample.name}: expected {n} samples along axis 0, got shape {x.shape}")
    return sample.finite(x)


def _log_prob(f: Function, x: Array) -> Array:
    values = f(x)
    if values.shape[:1] != (len(x),):
        raise AssertionError(
            f"check_kl: {f.name}: expected one number per sample, shape ({len(x)}, …), got {values.shape}"
        )
    f.require_deterministic([values], x)
    return f.finite(values, remedy="is the support of q inside that of p?").astype(np.float64)


def _estimate(terms: Array) -> tuple[Array, Array]:
    """Return the mean over axis 0 and its standard error."""
    return terms.mean(0), np.asarray(terms.std(0) / math.sqrt(len(terms)))


def _number(values: Array) -> str:
    return f"{float(values):.4g}" if values.ndim == 0 else f"{values.min():.4g} … {values.max():.4g}"
