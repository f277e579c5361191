"""LSTM: values against a NumPy implementation with separate gates, step-by-step evaluation, gradients."""

from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor
from tinygen.nn import LSTM
from tinygen.testing import check_grads, check_parameter_grads


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def reference_lstm(layer: LSTM, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return h at all time steps, (N, T, n_out), and the last state (h, c), with separate matrices for each gate."""
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
def test_sequence_and_steps_match_reference(n: int, length: int, n_in: int, n_out: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = randomised(LSTM(n_in, n_out, rng), rng), rng.normal(size=(n, length, n_in))
    zeros = np.zeros((n, n_out))
    expected, _, c = reference_lstm(layer, x, zeros, zeros)
    np.testing.assert_allclose(layer(x).value, expected, rtol=1e-12, atol=1e-14)
    state: Any = layer.initial_state(n)
    for t in range(length):
        state = layer.step(x[:, t], state)
        np.testing.assert_allclose(state[0].value, expected[:, t], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state[1].value, c, rtol=1e-12, atol=1e-14)


def test_step_from_a_nonzero_state(rng: np.random.Generator) -> None:
    layer, x, h, c = randomised(LSTM(2, 3, rng), rng), rng.normal(size=(4, 2)), *rng.normal(size=(2, 4, 3))
    for part, expected in zip(layer.step(x, (h, c)), reference_lstm(layer, x[:, None], h, c)[1:], strict=True):
        np.testing.assert_allclose(part.value, expected, rtol=1e-12, atol=1e-14)


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    layer, x = randomised(LSTM(2, 3, rng), rng), rng.normal(size=(3, 4, 2))
    check_parameter_grads(lambda: layer(x), layer.parameters(), rng=rng)
    check_grads(layer, x, rng=rng)


def test_float32_result_is_close_to_float64(rng: np.random.Generator) -> None:
    # 20 time steps, each with 8 products that are rounded to a relative precision of 6e-8.
    layer, x = randomised(LSTM(3, 5, rng), rng, np.float32), rng.normal(size=(9, 20, 3)).astype(np.float32)
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.value, layer.astype(np.float64)(x.astype(np.float64)).value, atol=2e-5)


def test_initial_forget_bias_is_one_and_recurrent_weights_are_orthogonal(rng: np.random.Generator) -> None:
    layer = LSTM(2, 5, rng)
    np.testing.assert_array_equal(np.split(layer.b.value, 4), [[value] * 5 for value in (0, 1, 0, 0)])
    for u in np.split(layer.u.value, 4, 1):
        np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-6)  # float32
    assert len(layer.parameters()) == 3


@pytest.mark.parametrize(
    ("n_in", "n_out", "message"), [(0, 1, "n_in: expected at least 1"), (1, 0, "n_out: expected at")]
)
def test_rejects_sizes_below_one(n_in: int, n_out: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        LSTM(n_in, n_out, np.random.default_rng(0))


def test_rejects_wrong_shape(rng: np.random.Generator) -> None:
    layer = LSTM(2, 3, rng)
    for x in (np.zeros((4, 2)), np.zeros((4, 5, 3))):
        with pytest.raises(ValueError, match=r"LSTM x: expected shape \(N, T, 2\), got"):
            layer(Tensor(x))
    with pytest.raises(ValueError, match=r"LSTM x: expected shape \(N, 2\), got"):
        layer.step(np.zeros((4, 5, 2)), layer.initial_state(4))
