"""What a distribution, a bijection or a pair of functions must satisfy: one list of checks, and which of them apply.

Checked by: tests/testing/test_contracts.py
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..autograd import Array
from ..bijections import Bijection
from ..nn import Module
from ..ode import Adaptive
from .autoregressive import check_autoregressive
from .calls import Convert, Function, as_array, record
from .conditional import check_conditional
from .densities import check_normalised, enumerate_support, evaluate
from .invertible import check_invertible
from .log_det import check_log_det
from .sampling import check_sampler, draw

MAX_SUPPORT = 4096  # values that `normalised` and `sampler` enumerate


@dataclass(frozen=True)
class Subject:
    """Something to check: an object, a pair of functions (forward, inverse), one function, or a factory of these.

    Args:
        name: for test ids and messages.
        given: a factory is a class or function whose only required argument, if any, is `rng`.
        x: inputs; by default four samples of a distribution, or of N(0, 1) for an object with a shape.
        context: one row per example of x, for a conditional function.
        convert: maps arrays to what the functions take, such as torch.from_numpy.
        seed: of the generators that the factory and the checks receive.
    """

    name: str
    given: Any
    x: Array | None = None
    context: Array | None = None
    convert: Convert = None
    seed: int = 0

    def build(self) -> Any:
        """Return the result of the factory, or a copy of the object. Raises ValueError for other required arguments."""
        if is_factory(self.given):
            if (required := _parameters(self.given)) not in ([], ["rng"]):
                name, wanted = self.given.__name__, "a class whose only required argument is rng"
                got = f"one with {', '.join(required)}; pass a factory, such as lambda rng: {name}(…)"
                raise ValueError(f"{name}: expected {wanted}, got {got}")
            rng = np.random.default_rng(self.seed)
            if required and inspect.signature(self.given).parameters["rng"].kind is inspect.Parameter.KEYWORD_ONLY:
                return self.given(rng=rng)
            return self.given(*[rng] * len(required))
        return self.given if isinstance(self.given, tuple) else copy.deepcopy(self.given)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed + 1)

    def inputs(self, built: Any) -> Any:
        """Return x, or examples that the object itself defines, or None if its shape is unknown."""
        if self.x is not None:
            return self.x
        if self.context is None and _is_distribution(built):
            x = as_array(built.sample(4, self.rng()))
            return x.astype(np.float64) if x.dtype.kind == "f" else x
        shape = getattr(built, "shape", None)
        return self.rng().normal(size=(4, *shape)) if isinstance(shape, tuple) else None


@dataclass(frozen=True)
class Check:
    """A check of a built subject, and why it may not apply: a reason, or '' if it applies."""

    run: Callable[[Subject, Any], None]
    excluded: Callable[[Subject, Any], str]


def is_factory(given: Any) -> bool:
    """Return whether this is a class, or a function without required arguments or with only the argument rng."""
    if inspect.isclass(given):
        return True
    is_function = inspect.isroutine(given) or isinstance(given, functools.partial)
    return is_function and _parameters(given) in ([], ["rng"])


def check_distribution(subject: Subject, model: Any) -> None:
    """log_prob: deterministic, (N,), finite, of the samples' dtype; it takes no rng, and examples are independent."""
    x = as_array(model.sample(3, subject.rng())) if subject.x is None else subject.x
    if "rng" in inspect.signature(model.log_prob).parameters:
        raise AssertionError("log_prob: expected a deterministic function, got one that takes an rng")
    values, dtype = evaluate("log_prob", model.log_prob, x, subject.convert)
    if not np.all(np.isfinite(values)):
        raise AssertionError("log_prob: expected finite numbers at samples of the model, got −∞")
    if x.dtype.kind == "f" and subject.x is None and x.dtype != dtype:
        raise AssertionError(f"log_prob: expected {x.dtype} as the samples, got {dtype}")
    record(f"log_prob of {len(values)} samples: {values.min():.4g} … {values.max():.4g} nats")


def check_sample(subject: Subject, model: Any) -> None:
    """sample: shape (n, *shape) also for n = 0, the same for the same seed; for another, only by chance."""
    sample, rng, event = Function("sample", "sample", model.sample, ["n", "rng"]), subject.rng(), tuple(model.shape)
    draw(sample, 0, event, rng)
    if not draw(sample, 3, event, rng)[1]:
        return
    x, tied = draw(sample, 1000, event, rng)
    continuous = x.dtype.kind == "f" and _levels(model) is None
    if tied and (continuous or evaluate("log_prob", model.log_prob, x, subject.convert)[0].sum() < math.log(1e-6)):
        raise AssertionError("sample: another seed gives the same samples; is rng ignored?")


def _run_on_maps(check: Callable[..., None], subject: Subject, built: Any) -> None:
    maps, x = _maps(subject, built), subject.inputs(built)
    check(maps, x, context=subject.context, rng=subject.rng(), convert=subject.convert)


def _conditional(subject: Subject, built: Any) -> None:
    built = _perturbed(built, subject) if isinstance(built, Module) else built
    f = built.log_prob if _is_distribution(built) else _maps(subject, built).forward
    assert subject.context is not None
    check_conditional(f, subject.inputs(built), subject.context, rng=subject.rng(), convert=subject.convert)


def _autoregressive(subject: Subject, built: Any) -> None:
    model = _perturbed(built, subject)
    x = subject.rng().integers(0, model.output.levels, (2, *model.shape))
    check_autoregressive(model, x, axes=len(model.shape), leaks_only=True, rng=subject.rng())


def _normalised(subject: Subject, built: Any) -> None:
    check_normalised(built.log_prob, _support(built), convert=subject.convert)


def _sampler(subject: Subject, built: Any) -> None:
    check_sampler(built.sample, built.log_prob, _support(built), rng=subject.rng(), convert=subject.convert)


def _not_a_distribution(subject: Subject, built: Any) -> str:
    if not _is_distribution(built):
        return "it has no log_prob, sample and shape"
    return "its functions need a context" if subject.context is not None or _is_conditional(built) else ""


def _not_a_map(subject: Subject, built: Any) -> str:
    if not (
        isinstance(built, tuple) or callable(getattr(_bijection(built), "forward", None)) or inspect.isfunction(built)
    ):
        return "it has no forward and inverse"
    if subject.context is None and _is_conditional(built):
        return "it is conditional: pass context"
    x = subject.inputs(built)
    return (
        "its input shape is unknown: pass x" if x is None else "its values are discrete" if x.dtype.kind != "f" else ""
    )


def _no_inverse(subject: Subject, built: Any) -> str:
    whole = isinstance(built, tuple) or hasattr(_bijection(built), "inverse")
    return _not_a_map(subject, built) or ("" if whole else "it has no inverse")


def _no_log_det(subject: Subject, built: Any) -> str:
    reason = _not_a_map(subject, built)
    if reason or isinstance(_bijection(built), Bijection):
        return reason
    arguments = [subject.inputs(built), *([] if subject.context is None else [subject.context])]
    try:
        result = _maps(subject, built).forward(*(subject.convert(x) if subject.convert else x for x in arguments))
    except Exception:  # the check will report it
        return ""
    return "" if isinstance(result, tuple | list) else "forward returns no log_det"


def _no_small_support(subject: Subject, built: Any) -> str:
    if reason := _not_a_distribution(subject, built):
        return reason
    if (levels := _levels(built)) is None:
        return "its values are not discrete levels: use check_normalised_density"
    if math.prod(built.shape) * math.log(levels) > math.log(MAX_SUPPORT):
        return f"it has more than {MAX_SUPPORT} values: pass a smaller model"
    return ""


CHECKS = {
    "sample": Check(check_sample, _not_a_distribution),
    "log_prob": Check(check_distribution, _not_a_distribution),
    "normalised": Check(_normalised, _no_small_support),
    "sampler": Check(_sampler, _no_small_support),
    "autoregressive": Check(
        _autoregressive,
        lambda subject, built: "" if _is_autoregressive(built) else "it has no network over levels in one order",
    ),
    "invertible": Check(functools.partial(_run_on_maps, check_invertible), _no_inverse),
    "log_det": Check(functools.partial(_run_on_maps, check_log_det), _no_log_det),
    "conditional": Check(_conditional, lambda subject, built: "it has no context" if subject.context is None else ""),
}


def _is_distribution(built: Any) -> bool:
    return all(callable(getattr(built, name, None)) for name in ("log_prob", "sample")) and hasattr(built, "shape")


def _is_conditional(built: Any) -> bool:
    sizes = [getattr(built, name, 0) for name in ("context", "classes")]
    return any(isinstance(size, int | np.integer) and size > 0 for size in sizes)


def _is_autoregressive(built: Any) -> bool:
    raster = isinstance(built, Module) and getattr(built, "orders", 1) == 1 and getattr(built, "classes", 0) == 0
    return raster and hasattr(built, "output") and hasattr(built, "draw") and hasattr(built, "shape")


def _bijection(built: Any) -> Any:
    return getattr(built, "bijection", built) if hasattr(built, "log_prob") else built


def _maps(subject: Subject, built: Any) -> Any:
    """Return an object with forward, and with inverse if there is one; a tinygen module is converted and perturbed."""
    if isinstance(built, tuple):
        return SimpleNamespace(forward=built[0], inverse=built[1])
    if inspect.isfunction(built):
        return SimpleNamespace(forward=built)
    return _bijection(_perturbed(built, subject) if isinstance(built, Module) else built)


def _perturbed(module: Any, subject: Subject) -> Any:
    """Convert to float64 and add N(0, 0.2²) to every parameter, so that no layer is initialised to zero.

    Adaptive solvers get tolerances close to rounding errors, as they choose their steps for the whole batch.
    """
    rng = np.random.default_rng(subject.seed + 2)
    for part in (module, *module.named_modules().values()):
        if isinstance(getattr(part, "solver", None), Adaptive):
            part.solver = replace(part.solver, rtol=1e-11, atol=1e-11)
    for parameter in module.astype(np.float64).parameters():
        parameter.assign(parameter.value + 0.2 * rng.normal(size=parameter.shape))
    return module


def _levels(built: Any) -> Any:
    return getattr(getattr(built, "output", None), "levels", None) or getattr(built, "levels", None)


def _support(built: Any) -> Array:
    return enumerate_support(_levels(built), tuple(built.shape))


def _parameters(f: Any) -> list[str]:
    """Return the names of the required parameters of a function or class."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return ["?"]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.kind not in variable and p.default is inspect.Parameter.empty]
