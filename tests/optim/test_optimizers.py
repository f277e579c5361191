"""SGD, Adam and AdamW: their updates compared with plain NumPy, exact resume, and rejection of invalid steps."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.parameters import SHAPES, float64, gradients, parameters
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter, Tensor, value_and_grad
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.nn import Linear
from tinygen.optim import EMA, SGD, Adam, AdamW, NonFiniteGradientError, Optimizer

Arrays = list[Array]


def adam_reference(
    values: Arrays, history: list[Arrays], lr: float, beta1: float, beta2: float, eps: float, decay: float
) -> Arrays:
    """Apply the update as documented for torch.optim.Adam and AdamW, in plain NumPy and float64."""
    m, v = [np.zeros(x.shape) for x in values], [np.zeros(x.shape) for x in values]
    for t, gs in enumerate(history, 1):
        for i, g in enumerate(gs):
            values[i] = values[i] - lr * decay * values[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            values[i] = values[i] - lr * m_hat / (np.sqrt(v_hat) + eps)
    return values


@given(
    lr=st.floats(1e-4, 0.5),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)),
    eps=st.floats(1e-8, 1e-2),
    decay=st.sampled_from([0.0, 0.01, 0.5]),
    steps=st.integers(1, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_adam_and_adamw_match_reference(
    lr: float, betas: tuple[float, float], eps: float, decay: float, steps: int, dtype: Any
) -> None:
    ps = parameters(dtype=dtype)
    history = [gradients(step, dtype) for step in range(steps)]
    expected = adam_reference(float64(ps), [float64(gs) for gs in history], lr, *betas, eps, decay)
    adam = AdamW(ps, lr, betas, eps, decay) if decay else Adam(ps, lr, betas, eps)
    for gs in history:
        adam.step(gs)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    for p, value in zip(ps, expected, strict=True):
        assert p.dtype == dtype
        assert np.allclose(p.value, value, rtol=tolerance, atol=tolerance * lr * steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_without_memory_does_not_cancel(dtype: Any) -> None:
    """With β₁ = β₂ = 0, every step is lr · sign(g), also where g² is below the rounding error of its predecessor."""
    p = Parameter([0.0], dtype)
    adam = Adam([p], 0.25, betas=(0.0, 0.0), eps=1e-30)
    for i, g in enumerate((1.0, 1e-5, 1e-9)):
        adam.step([np.array([g])])
        np.testing.assert_allclose(p.value, [-0.25 * (i + 1)], rtol=1e-6)


def test_adamw_without_decay_is_bitwise_equal_to_adam() -> None:
    one, two = parameters(), parameters()
    for gs in (gradients(0), gradients(1)):
        Adam(one).step(gs)
        AdamW(two, weight_decay=0.0).step(gs)
    assert all(np.array_equal(p.value, q.value) for p, q in zip(one, two, strict=True))


@given(
    lr=st.floats(1e-4, 1), momentum=st.sampled_from([0.0, 0.5, 0.9]), nesterov=st.booleans(), steps=st.integers(1, 4)
)
def test_sgd_matches_reference(lr: float, momentum: float, nesterov: bool, steps: int) -> None:
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


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (lambda ps: SGD(ps, 0.05, 0.9), 1e-5),  # the error shrinks by 0.95³⁰⁰; float32 rounding remains
        (lambda ps: Adam(ps, 0.1), 1e-5),
        (lambda ps: AdamW(ps, 0.1), 5e-3),  # weight decay moves the fixed point by 2e-3 · 0.5
    ],
)
def test_optimizers_minimise_a_quadratic(make: Callable[..., Optimizer], tolerance: float) -> None:
    x, target = Parameter(np.array([3.0, -2.0])), np.array([0.5, 0.25], np.float32)
    optimizer, loss = make([x]), value_and_grad(lambda: ((x - target) * (x - target)).sum(), inputs=[x])
    for _ in range(300):
        optimizer.step(loss()[1])
    assert np.allclose(x.value, target, rtol=0, atol=tolerance)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_layout_does_not_change_the_result(order: Any) -> None:
    value, g = np.arange(12.0).reshape(3, 4), np.arange(12.0)[::-1].reshape(4, 3).T
    p, q = Parameter(np.array(value, np.float32, order=order)), Parameter(value)
    for optimizer, gradient in ((Adam([p]), np.array(g, np.float32, order=order)), (Adam([q]), np.array(g, order="C"))):
        for _ in range(3):
            optimizer.step([gradient])
    assert np.array_equal(p.value, q.value)


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, 0.9, nesterov=True), Adam, AdamW])
def test_step_replaces_values_and_does_not_modify_arrays_in_place(make: Callable[..., Optimizer]) -> None:
    ps, gs = parameters(), gradients(0)
    old, old_copies = [p.value for p in ps], [p.value.copy() for p in ps]
    gradient_copies = [g.value.copy() for g in gs]
    make(ps).step(gs)
    assert all(p.value is not value and p.value.dtype == np.float32 for p, value in zip(ps, old, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(old, old_copies, strict=True))
    assert all(np.array_equal(g.value, value) for g, value in zip(gs, gradient_copies, strict=True))


def test_adam_is_bitwise_independent_of_the_number_of_threads() -> None:
    before, results = get_num_threads(), []
    value, g = np.random.default_rng(0).normal(size=(2, 300_001))
    try:
        for number in (1, 2, 3):
            set_num_threads(number)
            p = Parameter(value)
            adam = Adam([p])
            adam.step([g])
            adam.step([-g])
            results.append(p.value)
    finally:
        set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_adam_is_bitwise_equal_without_jit() -> None:
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
@given(interrupted_at=st.integers(0, 4))
def test_resuming_from_a_state_is_bitwise_exact(make: Callable[..., Optimizer], interrupted_at: int) -> None:
    ps = parameters()
    optimizer = make(ps)
    for step in range(4):
        if step == interrupted_at:
            state, values = optimizer.state(), [p.value for p in ps]
            ps = parameters(seed=1)
            optimizer = make(ps)
            optimizer.load(state)
            for p, value in zip(ps, values, strict=True):
                p.assign(value)
            for array in state.values():
                array[...] = 3  # `load` may not share memory with the optimiser
        optimizer.step(gradients(step))
    uninterrupted = parameters()
    optimizer = make(uninterrupted)
    for step in range(4):
        optimizer.step(gradients(step))
    assert all(np.array_equal(p.value, q.value) for p, q in zip(ps, uninterrupted, strict=True))


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, 0.9), Adam, AdamW])
def test_state_does_not_change_with_later_steps(make: Callable[..., Optimizer]) -> None:
    optimizer = make(parameters())
    optimizer.step(gradients(0))
    state = optimizer.state()
    expected = {name: value.copy() for name, value in state.items()}
    optimizer.step(gradients(1))
    assert any(np.any(value != expected[name]) for name, value in optimizer.state().items() if name != "steps")
    assert all(np.array_equal(value, expected[name]) for name, value in state.items())


def test_load_rejects_an_incompatible_state_and_changes_nothing() -> None:
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v.0": np.full((3, 4), 1e39)}, r"v\.0: expected numbers in the range of float32"),
        ({"m.1": np.full(4, np.nan)}, r"m\.1: expected finite numbers"),
        ({"steps": np.array(-1)}, "steps: expected at least 0, got -1"),
        ({"v.2": -np.ones(SHAPES[2])}, r"v\.2: expected numbers of at least 0"),
    ],
)
def test_load_rejects_impossible_numbers_and_changes_nothing(changes: dict[str, Array], message: str) -> None:
    adam = Adam(parameters())
    adam.step(gradients(0))
    before = adam.state()
    with pytest.raises(ValueError, match=message):
        adam.load({**before, **changes})
    assert all(np.array_equal(value, before[name]) for name, value in adam.state().items())


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, momentum=0.9), Adam, lambda ps: EMA(ps, 0.5)])
def test_buffers_do_not_overflow_if_the_dtype_changes(make: Any) -> None:
    p = Parameter([1e300], np.float64)
    owner = make([p])
    if isinstance(owner, Optimizer):
        owner.step([np.array([1e50])])
    p.assign(np.ones(1), np.float32)
    with pytest.raises(ValueError, match=r"\.0: expected numbers in the range of float32, got 1e\+"):
        owner.state() if isinstance(owner, Optimizer) else owner.averaged().__enter__()
    np.testing.assert_array_equal(p.value, [1])


class Custom(Optimizer):
    """An optimiser of a user: NumPy's sqrt returns a float64, to which float32 arrays are promoted."""

    def _new_value(self, value: Array, g: Array, buffers: list[Array], lr: float) -> Array:
        return self.change(value - lr * np.sqrt(2.0) * g)

    def change(self, value: Array) -> Array:
        return value


def test_steps_of_other_optimizers_keep_dtype_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    p = Parameter([1.0, 2.0])
    optimizer = Custom([p], 0.5)
    optimizer.step([np.ones(2)])
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.value, [1 - np.sqrt(0.5), 2 - np.sqrt(0.5)], rtol=1e-6)
    monkeypatch.setattr(optimizer, "change", np.sum)
    with pytest.raises(ValueError, match=r"value: expected shape \(2,\), got \(\)"):
        optimizer.step([np.ones(2)])
    monkeypatch.setattr(optimizer, "change", lambda value: np.float64(1e300) + value)
    with pytest.raises(ValueError, match=r"value: expected numbers in the range of float32, got 1e\+300"):
        optimizer.step([np.ones(2)])
    assert optimizer.steps == 1


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1), Adam])
def test_rejected_step_changes_nothing(make: Callable[..., Optimizer]) -> None:
    ps = parameters()
    optimizer = make(ps)
    values, before = [p.value for p in ps], optimizer.state()
    bad = gradients(0)
    bad[1] = Tensor(np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"gradients\[1\]: expected the parameter's shape \(4,\), got \(5,\)"):
        optimizer.step(bad)
    with pytest.raises(ValueError, match="expected one for each of 4 parameters, got 3"):
        optimizer.step(gradients(0)[:3])
    for number in (np.nan, np.inf, -np.inf):
        bad = gradients(0)
        bad[3].value[0, 0, 1] = number
        with pytest.raises(NonFiniteGradientError, match=r"gradients\[3\].*: 1 of 6 entries") as caught:
            optimizer.step(bad)
        assert caught.value.index == 3
        assert isinstance(caught.value, ValueError)
    assert all(p.value is value for p, value in zip(ps, values, strict=True))
    assert all(np.array_equal(value, before[name]) for name, value in optimizer.state().items())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_rejects_a_step_that_overflows_and_changes_nothing(momentum: float) -> None:
    """The second parameter is in a bucket of its own; the velocity of the first must not change either."""
    ps = [Parameter(np.zeros(2), np.float16), Parameter(np.full(5000, -6e4), np.float16)]
    sgd = SGD(ps, 1.0, momentum)
    sgd.step([np.ones(2), np.zeros(5000)])
    values, before = [p.value for p in ps], sgd.state()
    for large in (4e4, 6e4):
        with pytest.raises(ValueError, match=r"gradients: expected finite parameters after a step with lr = 1, got an"):
            sgd.step([np.ones(2), np.full(5000, large)])
    assert all(p.value is value for p, value in zip(ps, values, strict=True))
    assert all(np.array_equal(value, before[name]) for name, value in sgd.state().items())


def test_adam_rejects_a_learning_rate_that_overflows() -> None:
    p = Parameter(np.zeros(2))
    with pytest.raises(ValueError, match=r"lr at step 0: expected below 1\.84e\+19, got 1e\+39"):
        Adam([p], 1e39).step([np.ones(2)])
    assert not p.value.any()


@pytest.mark.parametrize("g", [1e300, 1j, "1"])
def test_rejects_gradients_that_the_dtype_of_the_parameter_cannot_hold(g: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"gradients\[0\]: expected (real )?numbers"):
        SGD([Parameter([1.0])], 1.0).step([np.array([g])])


def test_sgd_accepts_a_gradient_whose_square_overflows() -> None:
    p = Parameter(np.zeros(2))
    SGD([p], 1e-30).step([np.array([1e25, 1.0], np.float32)])
    assert np.allclose(p.value, [-1e-5, -1e-30], rtol=1e-6, atol=0)  # float32 rounding


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e20), (np.float64, 1e200)])
def test_adam_rejects_a_gradient_whose_square_overflows(dtype: Any, large: float) -> None:
    """Otherwise v stays infinite, and the next step silently makes the parameter NaN."""
    p = Parameter(np.zeros(2), dtype)
    adam = Adam([p])
    for size in (large, -large):
        with pytest.raises(NonFiniteGradientError, match=r"gradients\[0\] .*squares overflow float"):
            adam.step([np.array([1.0, size], dtype)])
    assert adam.steps == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_accepts_a_gradient_whose_squared_norm_overflows(dtype: Any) -> None:
    largest = math.sqrt(np.finfo(dtype).max) / 2  # no g² overflows, but the sum of 1000 of them does
    p = Parameter(np.zeros(1000), dtype)
    adam = Adam([p], lr=0.1)
    for _ in range(2):
        adam.step([np.full(1000, largest, dtype)])
    assert np.allclose(p.value, -0.2, rtol=1e-5)


def test_adam_rejects_float16_and_changes_nothing() -> None:
    p = Parameter(np.ones(2), np.float16)
    adam = Adam([p])
    with pytest.raises(TypeError, match=r"Adam parameters\[0\]: expected float32 or float64, got float16"):
        adam.step([np.ones(2)])
    assert adam.steps == 0
    SGD([p], 0.5).step([np.ones(2)])
    assert p.value.tolist() == [0.5, 0.5]


def test_buffers_follow_the_dtype_of_the_module() -> None:
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
    assert one.state()["v.0"].dtype == np.float32  # also before a step
    one.load(other.state())
    assert one.state()["v.0"].dtype == np.float32


def test_float64_parameter_is_updated_in_float64_next_to_a_float32_one() -> None:
    p, alone = (Parameter(np.ones(2), np.float64) for _ in range(2))
    Adam([Parameter(np.ones(2)), p], lr=0.1).step([np.ones(2)] * 2)
    Adam([alone], lr=0.1).step([np.ones(2)])
    assert np.array_equal(p.value, alone.value)


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (lambda: Linear(2, 3, np.random.default_rng(0)), "one Linear"),
        (lambda: Linear(2, 3, np.random.default_rng(0)).named_parameters(), "an iterable with a str"),
        (lambda: [parameters()[0], Tensor(np.ones(2))], "an iterable with a Tensor"),
        (lambda: parameters()[0], "one Parameter"),
        (lambda: [Parameter([1], np.int64)], "one of int64"),
    ],
)
@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1), Adam, lambda ps: EMA(ps, 0.9)])
def test_rejects_anything_but_parameters(bad: Any, got: str, make: Any) -> None:
    expected = "expected an iterable of floating-point Parameters"
    with pytest.raises(TypeError, match=rf"{expected}, got {got}; pass model\.parameters\(\)$"):
        make(bad())


@pytest.mark.parametrize(
    ("make", "message"),
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
        (lambda ps: Adam([]), "expected one or more, all distinct, got 0 distinct of 0"),
        (lambda ps: Adam([*ps, ps[0]]), "expected one or more, all distinct, got 4 distinct of 5"),
    ],
)
def test_rejects_invalid_settings(make: Callable[[list[Parameter]], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(parameters())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda p: SGD(p, 0.1, momentum=0), lambda p: SGD(p, 0.1, momentum=0.0)),
        (lambda p: Adam(p, betas=(0, 0.5)), lambda p: Adam(p, betas=(0.0, 0.5))),
        (lambda p: AdamW(p, weight_decay=1), lambda p: AdamW(p, weight_decay=1.0)),
    ],
)
def test_settings_of_equal_value_have_the_same_text(one: Any, other: Any) -> None:
    """`fit` compares the text when it resumes."""
    parameters = [Parameter(np.ones(2))]
    assert repr(one(parameters)) == repr(other(parameters))


def test_eps_must_not_round_to_zero_in_the_dtype_of_the_parameters() -> None:
    """Otherwise the step of a gradient of 0 is 0 / 0."""
    for dtype in (np.float32, np.float64):
        p = Parameter([1.0, 2.0], dtype)
        if dtype == np.float32:
            with pytest.raises(ValueError, match="eps: expected above 0 in float32, got 1e-50"):
                Adam([p], eps=1e-50)
        else:
            adam = Adam([p], eps=1e-50)
            adam.step([np.array([0.0, 1.0])])
            assert np.all(np.isfinite(p.value))
            p.assign(p.value, np.float32)
            with pytest.raises(ValueError, match="eps: expected above 0 in float32, got 1e-50"):
                adam.step([np.array([0.0, 1.0])])
