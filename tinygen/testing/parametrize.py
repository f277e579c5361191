"""`parametrize_with_checks`: a pytest parametrisation over models and all checks that apply to them.

Source: the idea and the name are scikit-learn's, `sklearn.utils.estimator_checks.parametrize_with_checks`.
Checked by: tests/testing/test_contracts.py
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..autograd import Array
from .calls import Convert
from .contracts import CHECKS, Subject

F = TypeVar("F", bound=Callable[..., Any])


def parametrize_with_checks(
    subjects: Iterable[Any] | Mapping[str, Any],
    *,
    x: Array | None = None,
    context: Array | None = None,
    convert: Convert = None,
    expected_failures: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Callable[[F], F]:
    """Return a decorator that calls a test once for each subject and each check that applies to it.

        @parametrize_with_checks({"my_flow": (forward, inverse), "MADE": lambda rng: MADE((2, 2), 2, rng)}, x=x)
        def test_my_models(check):
            check()

    The ids are such as `my_flow-log_det` and `MADE-sampler`. Each test has its own copy of the object, or calls the
    factory again.

    Args:
        subjects: objects with log_prob, sample and shape, or with forward and inverse; pairs (forward, inverse) of
            functions; factories of these, which are classes or functions whose only required argument, if any, is rng;
            or `Subject`s with their own settings. A mapping gives them names.
        x, context, convert: the inputs of functions and conditional objects, as for `check_log_det`.
        expected_failures: maps a check ("sampler") or an id ("MADE-sampler") to the reason why it fails; the tests are
            marked as strict expected failures.

    Raises: ValueError if there are no subjects, if no check applies to one, if a class has required arguments other
        than rng, or if an expected failure names no check that applies.
    """
    import pytest

    named = list(_subjects(subjects, x, context, convert, seed))
    if not named:
        raise ValueError("subjects: expected one or more objects, pairs of functions or factories, got none")
    reasons, unused = dict(expected_failures or {}), set(expected_failures or {})
    found = []
    for subject in named:
        built = subject.build()
        excluded = {name: check.excluded(subject, built) for name, check in CHECKS.items()}
        if all(excluded.values()):
            reasons_given = "; ".join(dict.fromkeys(excluded.values()))
            raise ValueError(f"subjects: no check applies to {subject.name}: {reasons_given}")
        for name in [name for name, reason in excluded.items() if not reason]:
            id_ = f"{subject.name}-{name}"
            key = id_ if id_ in reasons else name
            unused.discard(key)
            mark = pytest.mark.xfail(reason=reasons[key], strict=True, raises=AssertionError) if key in reasons else ()
            found.append(pytest.param(functools.partial(run_check, subject, name), id=id_, marks=mark))
    if unused:
        ids = ", ".join(str(parameter.id) for parameter in found)
        raise ValueError(
            f"expected_failures: expected names of checks that apply, got {sorted(unused)}; there are {ids}"
        )
    return pytest.mark.parametrize("check", found)


def run_check(subject: Subject, name: str) -> None:
    """Run one check of CHECKS on a newly built subject."""
    CHECKS[name].run(subject, subject.build())


def _subjects(
    subjects: Iterable[Any] | Mapping[str, Any], x: Array | None, context: Array | None, convert: Convert, seed: int
) -> Iterable[Subject]:
    taken: dict[str, int] = {}
    items = subjects.items() if isinstance(subjects, Mapping) else ((None, given) for given in subjects)
    for key, given in items:
        if isinstance(given, Subject):
            yield given
            continue
        name = key or _name(given, Subject("", given, seed=seed))
        taken[name] = taken.get(name, 0) + 1
        yield Subject(name if taken[name] == 1 else f"{name}{taken[name]}", given, x, context, convert, seed)


def _name(given: Any, subject: Subject) -> str:
    """Return the class of an object, or the common name of two functions, such as my_flow_forward, my_flow_inverse."""
    built = given if isinstance(given, tuple) else subject.build()
    first = built[0] if isinstance(built, tuple) else built
    name = getattr(first, "__name__", type(first).__name__)
    stem = name.removesuffix("forward").rstrip("_")
    return stem or f"{getattr(first, '__module__', '').rsplit('.', 1)[-1]}.{name}"
