"""Optimisers against hand-written references, schedules, clipping, averages, and what they refuse."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import optim
from tinygen.autograd import Array, Parameter, Tensor, value_and_grad
from tinygen.kernels.runtime.pool import set_threads, threads
from tinygen.nn import Linear
from tinygen.optim import SGD, Adam, AdamW

SHAPES = [(3, 4), (4,), (), (2, 1, 3)]
Numbers = list[Array]


def parameters(seed: int = 0, dtype: Any = np.float32) -> list[Parameter]:
    rng = np.random.default_rng(seed)
    return [Parameter(rng.normal(size=shape), dtype) for shape in SHAPES]


def gradients(seed: int, dtype: Any = np.float32) -> list[Tensor]:
    rng = np.random.default_rng([7, seed])
    return [Tensor(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def adam_reference(
    values: Numbers, history: list[Numbers], lr: float, beta1: float, beta2: float, eps: float, decay: float
) -> Numbers:
    """The update as the documentation of torch.optim.Adam and AdamW writes it, in plain NumPy and float64."""
    m, v = [np.zeros(x.shape) for x in values], [np.zeros(x.shape) for x in values]
    for t, gs in enumerate(history, 1):
        for i, g in enumerate(gs):
            values[i] = values[i] - lr * decay * values[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            values[i] = values[i] - lr * m_hat / (np.sqrt(v_hat) + eps)
    return values


def float64(tensors: list[Any]) -> Numbers:
    return [t.value.astype(np.float64) for t in tensors]


@given(
    lr=st.floats(1e-4, 0.5),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    eps=st.floats(1e-8, 1e-2),
    decay=st.sampled_from([0.0, 0.01, 0.5]),
    steps=st.integers(1, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_adam_and_adamw(
    lr: float, betas: tuple[float, float], eps: float, decay: float, steps: int, dtype: Any
) -> None:
    ps = parameters(dtype=dtype)
    history = [gradients(step, dtype) for step in range(steps)]
    wanted = adam_reference(float64(ps), [float64(gs) for gs in history], lr, *betas, eps, decay)
    adam = AdamW(ps, lr, betas, eps, decay) if decay else Adam(ps, lr, betas, eps)
    for gs in history:
        adam.step(gs)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    for p, value in zip(ps, wanted, strict=True):
        assert p.dtype == dtype
        assert np.allclose(p.value, value, rtol=tolerance, atol=tolerance * lr * steps)


def test_adamw_with_no_decay_is_adam_to_the_bit() -> None:
    one, two = parameters(), parameters()
    for gs in (gradients(0), gradients(1)):
        Adam(one).step(gs)
        AdamW(two, weight_decay=0.0).step(gs)
    assert all(np.array_equal(p.value, q.value) for p, q in zip(one, two, strict=True))


@given(
    lr=st.floats(1e-4, 1), momentum=st.sampled_from([0.0, 0.5, 0.9]), nesterov=st.booleans(), steps=st.integers(1, 4)
)
def test_sgd(lr: float, momentum: float, nesterov: bool, steps: int) -> None:
    nesterov = nesterov and momentum > 0
    ps = parameters(dtype=np.float64)
    values, velocity = float64(ps), [np.zeros(shape) for shape in SHAPES]
    sgd = SGD(ps, lr, momentum, nesterov)
    for step in range(steps):
        gs = gradients(step, np.float64)
        sgd.step(gs)
        for i, g in enumerate(float64(gs)):
            velocity[i] = momentum * velocity[i] + g
            values[i] = values[i] - lr * (g + momentum * velocity[i] if nesterov else velocity[i])
    assert all(np.allclose(p.value, value, rtol=1e-12) for p, value in zip(ps, values, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_memory_order_of_values_and_gradients_does_not_matter(order: Any) -> None:
    value, g = np.arange(12.0).reshape(3, 4), np.arange(12.0)[::-1].reshape(4, 3).T
    p, q = Parameter(np.array(value, np.float32, order=order)), Parameter(value)
    for optimizer, gradient in ((Adam([p]), np.array(g, np.float32, order=order)), (Adam([q]), np.array(g, order="C"))):
        for _ in range(3):
            optimizer.step([gradient])
    assert np.array_equal(p.value, q.value)


def test_values_are_replaced_and_gradients_are_left_alone() -> None:
    for make in (lambda ps: SGD(ps, 0.1, 0.9, nesterov=True), Adam, AdamW):
        ps, gs = parameters(), gradients(0)
        old, kept = [p.value for p in ps], [p.value.copy() for p in ps]
        noted = [g.value.copy() for g in gs]
        make(ps).step(gs)
        assert all(p.value is not value and p.value.dtype == np.float32 for p, value in zip(ps, old, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(old, kept, strict=True))
        assert all(np.array_equal(g.value, value) for g, value in zip(gs, noted, strict=True))


def test_large_arrays_have_the_same_bits_on_any_number_of_threads() -> None:
    before, results = threads(), []
    value, g = np.random.default_rng(0).normal(size=(2, 300_001))
    try:
        for number in (1, 2, 3):
            set_threads(number)
            p = Parameter(value)
            adam = Adam([p])
            adam.step([g])
            adam.step([-g])
            results.append(p.value)
    finally:
        set_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_adam_has_the_same_bits_uncompiled() -> None:
    program = """
import numpy as np
from tinygen.autograd import Parameter
from tinygen.optim import AdamW
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    p = Parameter(rng.normal(size=50), dtype)
    adam = AdamW([p], 0.01)
    for _ in range(3):
        adam.step([rng.normal(size=50)])
    print(p.value.tobytes().hex())
"""
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for disabled in ("0", "1")
    ]
    assert printed[0]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, 0.9), Adam, AdamW])
@given(broken_at=st.integers(0, 4))
def test_going_on_from_a_state_gives_the_same_bits(make: Callable[..., optim.Optimizer], broken_at: int) -> None:
    ps = parameters()
    optimizer = make(ps)
    for step in range(4):
        if step == broken_at:
            state, values = optimizer.state(), [p.value for p in ps]
            ps = parameters(seed=1)
            optimizer = make(ps)
            optimizer.load(state)
            for p, value in zip(ps, values, strict=True):
                p.assign(value)
            for array in state.values():
                array[...] = 3  # neither the state that was given nor the one that was taken is shared
        optimizer.step(gradients(step))
    unbroken = parameters()
    optimizer = make(unbroken)
    for step in range(4):
        optimizer.step(gradients(step))
    assert all(np.array_equal(p.value, q.value) for p, q in zip(ps, unbroken, strict=True))


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    adam = Adam(parameters())
    adam.step(gradients(0))
    before, state = adam.state(), adam.state()
    state["v.1"] = np.ones((5,), np.float32)
    del state["m.0"]
    with pytest.raises(ValueError, match=r"m\.0 of shape \(3, 4\) is missing; v\.1: expected shape \(4,\), got \(5,\)"):
        adam.load(state)
    with pytest.raises(ValueError, match=r"velocity\.0 is unknown"):
        adam.load(SGD(parameters(), 0.1).state())
    assert all(np.array_equal(value, before[name]) for name, value in adam.state().items())


def test_a_step_is_refused_as_a_whole() -> None:
    for make in (lambda ps: SGD(ps, 0.1), Adam):
        ps = parameters()
        optimizer = make(ps)
        values, before = [p.value for p in ps], optimizer.state()
        bad = gradients(0)
        bad[1] = Tensor(np.ones(5, np.float32))
        with pytest.raises(ValueError, match=r"gradients\[1\]: expected the parameter's shape \(4,\), got \(5,\)"):
            optimizer.step(bad)
        with pytest.raises(ValueError, match="expected one for each of 4 parameters, got 3"):
            optimizer.step(gradients(0)[:3])
        for wrong in (np.nan, np.inf, -np.inf):
            bad = gradients(0)
            bad[3].value[0, 0, 1] = wrong
            with pytest.raises(optim.NonFiniteGradientError, match=r"gradients\[3\].*: 1 of 6 entries") as caught:
                optimizer.step(bad)
            assert caught.value.index == 3
            assert isinstance(caught.value, ValueError)
        assert all(p.value is value for p, value in zip(ps, values, strict=True))
        assert all(np.array_equal(value, before[name]) for name, value in optimizer.state().items())


def test_a_gradient_whose_square_overflows_is_still_finite() -> None:
    p = Parameter(np.zeros(2))
    SGD([p], 1e-30).step([np.array([1e25, 1.0], np.float32)])
    assert np.allclose(p.value, [-1e-5, -1e-30], rtol=1e-6, atol=0)  # the rounding of float32
    _, norm = optim.clip_by_global_norm([Tensor(np.array([3e25, 4e25], np.float32))], 1.0)
    assert math.isclose(norm, 5e25, rel_tol=1e-6)


@given(seed=st.integers(0, 100), max_norm=st.floats(1e-3, 20), dtype=st.sampled_from([np.float32, np.float64]))
def test_clipping_shortens_all_by_one_factor(seed: int, max_norm: float, dtype: Any) -> None:
    gs = gradients(seed, dtype)
    clipped, norm = optim.clip_by_global_norm(gs, max_norm)
    flat, before = (np.concatenate([g.value.ravel() for g in tensors]) for tensors in (clipped, gs))
    assert math.isclose(norm, float(np.linalg.norm(before.astype(np.float64))), rel_tol=1e-5)
    assert all(g.dtype == dtype for g in clipped)
    assert np.linalg.norm(flat) <= max_norm * (1 + 1e-5)
    assert np.allclose(flat, before * min(1, max_norm / norm), rtol=1e-5)
    if norm <= max_norm:
        assert clipped == gs or all(a is b for a, b in zip(clipped, gs, strict=True))


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda: Linear(2, 3, np.random.default_rng(0)), "one Linear"),
        (lambda: Linear(2, 3, np.random.default_rng(0)).named_parameters(), "str at 0"),
        (lambda: [parameters()[0], Tensor(np.ones(2))], "Tensor at 1"),
        (lambda: parameters()[0], "one Parameter"),
    ],
)
def test_what_is_no_parameter_is_refused_when_it_is_given(wrong: Any, got: str) -> None:
    for make in (lambda ps: SGD(ps, 0.1), Adam, lambda ps: optim.EMA(ps, 0.9)):
        with pytest.raises(TypeError, match=rf"expected Parameters \(pass model\.parameters\(\)\), got {got}$"):
            make(wrong())


def test_what_is_kept_follows_the_dtype_of_the_module() -> None:
    layer = Linear(2, 3, np.random.default_rng(0))
    reference = Parameter(layer.w.value, np.float64)
    one, other = Adam([layer.w]), Adam([reference])
    layer.astype(np.float64)
    for seed in range(3):
        g = np.random.default_rng(seed).normal(size=(2, 3))
        one.step([g])
        other.step([g])
    assert one.state()["v.0"].dtype == np.float64
    assert np.array_equal(layer.w.value, reference.value)
    layer.astype(np.float32)
    one.load(other.state())
    assert one.state()["v.0"].dtype == np.float32


def test_a_float32_parameter_does_not_round_the_numbers_of_a_float64_one() -> None:
    p, alone = (Parameter(np.ones(2), np.float64) for _ in range(2))
    Adam([Parameter(np.ones(2)), p], lr=0.1).step([np.ones(2)] * 2)
    Adam([alone], lr=0.1).step([np.ones(2)])
    assert np.array_equal(p.value, alone.value)


def test_adam_refuses_float16_and_changes_nothing() -> None:
    p = Parameter(np.ones(2), np.float16)
    adam = Adam([p])
    with pytest.raises(TypeError, match=r"Adam parameters\[0\]: expected float32 or float64, got float16"):
        adam.step([np.ones(2)])
    assert adam.steps == 0
    SGD([p], 0.5).step([np.ones(2)])
    assert p.value.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e20), (np.float64, 1e200)])
def test_adam_refuses_a_gradient_whose_square_overflows(dtype: Any, large: float) -> None:
    """Else v is infinite for good, and the step after it makes the parameter NaN without a word."""
    p = Parameter(np.zeros(2), dtype)
    adam = Adam([p])
    for size in (large, -large):
        with pytest.raises(optim.NonFiniteGradientError, match=r"gradients\[0\] .*squares overflow float"):
            adam.step([np.array([1.0, size], dtype)])
    assert adam.steps == 0
    below = math.sqrt(np.finfo(dtype).max) / 2  # 1000 of these: ‖g‖² overflows, no g² does
    q = Parameter(np.zeros(1000), dtype)
    adam = Adam([q], lr=0.1)
    for _ in range(2):
        adam.step([np.full(1000, below, dtype)])
    assert np.allclose(q.value, -0.2, rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e-23), (np.float32, 1e-40), (np.float64, 1e200), (np.float64, 1e-200)]
)
def test_clipping_where_squares_overflow_or_underflow(dtype: Any, size: float) -> None:
    g = (np.array([3.0, 4.0]) * size).astype(dtype)
    (clipped,), norm = optim.clip_by_global_norm([Tensor(g)], size)
    assert math.isclose(norm, 5 * size, rel_tol=1e-5)
    assert np.allclose(clipped.value / dtype(size), [0.6, 0.8], rtol=1e-4)  # 1e-40 has five digits left in float32
    assert optim.clip_by_global_norm([Tensor(np.zeros(2))], 1.0)[1] == 0


def test_clipping_refuses_what_is_not_finite() -> None:
    with pytest.raises(optim.NonFiniteGradientError, match=r"gradients\[1\]"):
        optim.clip_by_global_norm([Tensor(np.ones(2)), Tensor(np.array([1, np.inf]))], 1.0)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="max_norm"):
            optim.clip_by_global_norm(gradients(0), wrong)


def test_schedules() -> None:
    assert [optim.constant(0.1)(t) for t in (0, 9)] == [0.1, 0.1]
    assert [optim.exponential(0.8, 0.5)(t) for t in (0, 1, 3)] == [0.8, 0.4, 0.1]
    cosine = optim.cosine(2.0, steps=12, warmup=4)
    assert [cosine(t) for t in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert math.isclose(cosine(8), 1.0)
    assert math.isclose(cosine(10), 1 + math.cos(3 * math.pi / 4))
    assert cosine(12) == cosine(100) == 0.0


def test_the_schedule_is_asked_for_every_step_from_zero() -> None:
    asked: list[int] = []
    p = Parameter(np.zeros(1))

    def schedule(step: int) -> float:
        asked.append(step)
        return float(10.0**-step)

    sgd = SGD([p], schedule)
    for _ in range(3):
        sgd.step([np.ones(1)])
    assert asked == [0, 1, 2]
    assert np.allclose(p.value, -1.11)


@given(st.floats(0, 0.99), st.integers(0, 4))
def test_averages(decay: float, steps: int) -> None:
    ps = parameters()
    ema, wanted = optim.EMA(ps, decay), float64(ps)
    for step in range(steps):
        for p, g in zip(ps, gradients(step), strict=True):
            p.assign(g.value)
        ema.update()
        wanted = [decay * mean + (1 - decay) * p.value for mean, p in zip(wanted, ps, strict=True)]
    own = [p.value for p in ps]
    with ema.averaged():
        # Up to four roundings of float32, 6e-8 each, of numbers below 10.
        assert all(np.allclose(p.value, mean, rtol=0, atol=3e-6) for p, mean in zip(ps, wanted, strict=True))
        assert all(p.dtype == np.float32 for p in ps)
    assert all(p.value is value for p, value in zip(ps, own, strict=True))
    with pytest.raises(KeyError), ema.averaged():
        raise KeyError
    assert all(p.value is value for p, value in zip(ps, own, strict=True))
    other = optim.EMA(parameters(seed=1), decay)
    other.load(ema.state())
    assert all(np.array_equal(a, b) for a, b in zip(other.averages, ema.averages, strict=True))
    with pytest.raises(ValueError, match=r"EMA.*3 of shape"):
        other.load({name: value for name, value in ema.state().items() if name != "3"})


@pytest.mark.parametrize(
    ("make", "off"),
    [
        (lambda ps: SGD(ps, 0.05, 0.9), 1e-5),  # as 0.95³⁰⁰, and the rounding of float32
        (lambda ps: Adam(ps, 0.1), 1e-5),
        (lambda ps: AdamW(ps, 0.1), 5e-3),  # the decay holds it off the bottom: 2e-3 of 0.5
    ],
)
def test_they_find_the_bottom_of_a_bowl(make: Callable[..., optim.Optimizer], off: float) -> None:
    x, target = Parameter(np.array([3.0, -2.0])), np.array([0.5, 0.25], np.float32)
    optimizer, loss = make([x]), value_and_grad(lambda: ((x - target) * (x - target)).sum(), inputs=[x])
    for _ in range(300):
        optimizer.step(loss()[1])
    assert np.allclose(x.value, target, rtol=0, atol=off)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda ps: Adam(ps, 0.0), "lr: expected .*, got 0.0"),
        (lambda ps: Adam(ps, math.nan), "lr: expected .*, got nan"),
        (lambda ps: SGD(ps, -0.1), "lr: expected .*, got -0.1"),
        (lambda ps: SGD(ps, lambda step: -1.0).step(gradients(0)), "lr at step 0: expected .*, got -1.0"),
        (lambda ps: Adam(ps, betas=(1.0, 0.9)), r"betas\[0\]: expected .*, got 1.0"),
        (lambda ps: Adam(ps, betas=(0.9, -0.1)), r"betas\[1\]: expected .*, got -0.1"),
        (lambda ps: Adam(ps, eps=0.0), "eps: expected .*, got 0.0"),
        (lambda ps: AdamW(ps, weight_decay=-1.0), "weight_decay: expected .*, got -1.0"),
        (lambda ps: SGD(ps, 0.1, momentum=1.0), "momentum: expected .*, got 1.0"),
        (lambda ps: SGD(ps, 0.1, nesterov=True), "nesterov: expected .*, got True"),
        (lambda ps: Adam([]), "one or more"),
        (lambda ps: Adam([*ps, ps[0]]), "each given once"),
        (lambda ps: optim.EMA(ps, 1.0), "decay: expected .*, got 1.0"),
        (lambda ps: optim.cosine(0.1, steps=5, warmup=5), "warmup: expected .*, got 5"),
        (lambda ps: optim.cosine(0.0, steps=5), "lr: expected .*, got 0.0"),
        (lambda ps: optim.exponential(0.1, 1.5), "rate: expected .*, got 1.5"),
    ],
)
def test_bad_settings_are_refused_by_name(make: Callable[[list[Parameter]], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(parameters())
