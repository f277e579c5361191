"""The LSTM against one in plain NumPy, gate by gate, and its two evaluations against each other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor
from tinygen.nn import LSTM
from tinygen.testing import check_grads, check_parameter_grads


def filled(n_in: int, n_out: int, rng: np.random.Generator, dtype: Any = np.float64) -> LSTM:
    layer = LSTM(n_in, n_out, rng).astype(dtype)
    for parameter in layer.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    return layer


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def plain(layer: LSTM, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """All h (N, T, H) and the last state, each gate with matrices of its own."""
    w, u, b = (np.split(parameter.value, 4, -1) for parameter in (layer.w, layer.u, layer.b))
    (wi, wf, wg, wo), (ui, uf, ug, uo), (bi, bf, bg, bo) = w, u, b
    hs = []
    for t in range(x.shape[1]):
        i, f = sigmoid(x[:, t] @ wi + h @ ui + bi), sigmoid(x[:, t] @ wf + h @ uf + bf)
        g, o = np.tanh(x[:, t] @ wg + h @ ug + bg), sigmoid(x[:, t] @ wo + h @ uo + bo)
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
    return np.stack(hs, 1), h, c


SIZES = {"n": st.integers(1, 4), "length": st.integers(1, 5), "n_in": st.integers(1, 3), "n_out": st.integers(1, 4)}


@given(**SIZES, seed=st.integers(0, 2**32))
def test_sequence_and_steps_equal_plain_numpy(n: int, length: int, n_in: int, n_out: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = filled(n_in, n_out, rng), rng.normal(size=(n, length, n_in))
    zeros = np.zeros((n, n_out))
    wanted, _, c = plain(layer, x, zeros, zeros)
    np.testing.assert_allclose(layer(x).value, wanted, rtol=1e-12, atol=1e-14)
    state: Any = layer.start(n)
    for t in range(length):
        state = layer.step(x[:, t], state)
        np.testing.assert_allclose(state[0].value, wanted[:, t], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state[1].value, c, rtol=1e-12, atol=1e-14)


def test_a_step_goes_on_from_any_state(rng: np.random.Generator) -> None:
    layer, x, h, c = filled(2, 3, rng), rng.normal(size=(4, 2)), *rng.normal(size=(2, 4, 3))
    stepped = layer.step(x, (h, c))
    for ours, wanted in zip(stepped, plain(layer, x[:, None], h, c)[1:], strict=True):
        np.testing.assert_allclose(ours.value, wanted, rtol=1e-12, atol=1e-14)


def test_derivatives_by_input_and_parameters(rng: np.random.Generator) -> None:
    layer, x = filled(2, 3, rng), rng.normal(size=(3, 4, 2))
    check_parameter_grads(lambda: layer(x), layer.parameters(), rng=rng)
    check_grads(layer, x, rng=rng)


def test_float32_stays_float32_and_near_float64(rng: np.random.Generator) -> None:
    # 20 steps, in each of which 8 products are rounded to 6e-8 of themselves.
    layer, x = filled(3, 5, rng, np.float32), rng.normal(size=(9, 20, 3)).astype(np.float32)
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.value, layer.astype(np.float64)(x.astype(np.float64)).value, atol=2e-5)


def test_it_starts_by_keeping_what_it_has(rng: np.random.Generator) -> None:
    layer = LSTM(2, 5, rng)
    np.testing.assert_array_equal(np.split(layer.b.value, 4), [[value] * 5 for value in (0, 1, 0, 0)])
    for u in np.split(layer.u.value, 4, 1):
        np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-6)  # float32
    assert len(layer.parameters()) == 3


@pytest.mark.parametrize(("n_in", "n_out", "said"), [(0, 1, "n_in: expected at least 1"), (1, 0, "n_out: expected at")])
def test_sizes_below_one_are_refused(n_in: int, n_out: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        LSTM(n_in, n_out, np.random.default_rng(0))


def test_inputs_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    layer = LSTM(2, 3, rng)
    for x in (np.zeros((4, 2)), np.zeros((4, 5, 3))):
        with pytest.raises(ValueError, match=r"LSTM x: expected shape \(N, T, 2\), got"):
            layer(Tensor(x))
    with pytest.raises(ValueError, match=r"LSTM x: expected shape \(N, 2\), got"):
        layer.step(np.zeros((4, 5, 2)), layer.start(4))
