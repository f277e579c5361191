"""grad: gradients, their accumulation, errors, and memory."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

import tinygen.autograd as ag
from tinygen.autograd import Array, Parameter, Tensor, grad, no_grad, node, shape, value_and_grad
from tinygen.kernels import convolution
from tinygen.testing import check_grads
from tinygen.testing import strategies as draws


@contextmanager
def without_collector() -> Iterator[None]:
    """Disable the cyclic garbage collector, so that objects are freed by reference counting alone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def counting(x: Tensor, calls: list[int]) -> Tensor:
    """Identity operation whose VJP appends to `calls`."""

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        calls.append(1)
        return g

    return node("counting", x.value, (x, vjp))


def chain(x: Tensor, length: int) -> Tensor:
    for _ in range(length):
        x = ag.sin(x)
    return x


def peak(f: Callable[[], object]) -> int:
    """Return the peak memory allocated while f runs, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_grad_does_not_free_the_graph() -> None:
    x = Tensor(np.array([1.0, 2.0]))
    y = (ag.exp(x) * x).sum()
    first, second = (grad(y, [x])[0].value for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, np.exp(x.value) * (1 + x.value), rtol=1e-15)


def test_grad_runs_only_vjps_on_a_path_to_the_inputs() -> None:
    a, b = Tensor(2.0), Tensor(3.0)
    on_a: list[int] = []
    on_b: list[int] = []
    y = counting(a, on_a) * counting(counting(b, on_b), on_b)
    assert grad(y, [a])[0].item() == 3
    assert (len(on_a), len(on_b)) == (1, 0)
    grad(y, [a, b])
    assert (len(on_a), len(on_b)) == (2, 2)


def test_grad_skips_edges_that_do_not_lead_to_an_input() -> None:
    a, b = Tensor(2.0), Tensor(3.0)

    def fail(g: Tensor, y: Tensor) -> Tensor:
        raise AssertionError("the VJP of an edge that leads to no input was called")

    y = node("pair", a.value + b.value, (a, fail), (b, lambda g, y: g))
    assert grad(y, [b])[0].item() == 1


def test_vjp_runs_once_where_paths_meet() -> None:
    x = Tensor(2.0)
    calls: list[int] = []
    y = counting(x, calls)
    for _ in range(30):  # 2³⁰ paths
        y = y + y
    assert grad(y, [x])[0].item() == 2**30
    assert len(calls) == 1


def test_intermediate_results_may_be_inputs() -> None:
    x = Tensor(2.0)
    y = x * x
    z = y * y
    assert [g.item() for g in grad(z, [y, x, z])] == [8, 32, 1]


def test_an_input_may_be_given_twice() -> None:
    x = Tensor(3.0)
    assert [g.item() for g in grad(x * x, [x, x])] == [6, 6]


def test_gradients_of_a_shared_parameter_are_summed() -> None:
    w = Parameter([2.0], np.float64)
    y = w * 3.0 + ag.exp(w) + w * w
    np.testing.assert_allclose(grad(y, [w])[0].value, [3 + np.exp(2.0) + 4], rtol=1e-15)


def test_gradients_of_ten_thousand_uses_are_summed() -> None:
    x = Tensor(np.ones(3))
    total = Tensor(np.zeros(3))
    for _ in range(10_000):
        total = total + x
    np.testing.assert_array_equal(grad(total.sum(), [x])[0].value, [1e4] * 3)


def test_gradients_of_overlapping_slices_are_correct() -> None:
    """Basic and advanced indexing of one tensor, together with another use of it."""
    x = Tensor(np.arange(12.0).reshape(4, 3) / 7)
    slices: list[Callable[[Tensor], Tensor]] = [
        lambda x: x[1],
        lambda x: x[1:3, None],
        lambda x: x[..., 2],
        lambda x: x[[1, 1]],
        lambda x: x[::-1, 0],
    ]

    def f(x: Tensor) -> Tensor:
        parts = [(part(x) ** 3).sum() for part in slices]
        return ag.stack([*parts, (x * x).sum()]).sum()

    check_grads(f, x.value, order=2, rng=np.random.default_rng(0))


def test_gradients_of_slices_accumulate_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand slices must not allocate a thousand arrays of the full size."""
    scatter_add = Mock(wraps=shape.scatter_add)
    monkeypatch.setattr(shape, "scatter_add", scatter_add)
    rows = Tensor(np.ones((1000, 2)))
    total = sum(row.sum() for row in rows)
    assert isinstance(total, Tensor)
    np.testing.assert_array_equal(grad(total, [rows])[0].value, np.ones((1000, 2)))
    assert scatter_add.call_count == 2  # for the first two; their sum is a new array, to which the others are added


TAPS = ((-1,), (0,))
USES: list[Callable[[Tensor, Array], Tensor]] = [
    lambda x, w: ag.conv(x, w, TAPS),
    lambda x, w: ag.conv_transpose(x, w, TAPS),
    lambda x, w: ag.conv(ag.tanh(x), w, TAPS, residual=x),
    lambda x, w: x * w[0, 0],
    lambda x, w: ag.pad(x[:, 1:3], [(0, 0), (1, 1), (0, 0)]),
]


@given(chosen=st.lists(st.sampled_from(USES), min_size=2, max_size=5), rng=draws.rngs())
def test_convolutions_add_to_the_adjoint_of_their_input(chosen: list[Any], rng: np.random.Generator) -> None:
    x, w, c = (rng.normal(size=shape) for shape in ((2, 4, 3), (2, 3, 3), (len(chosen), 2, 4, 3)))

    def f(x: Tensor) -> Tensor:
        return sum((use(x, w) * weight for use, weight in zip(chosen, c, strict=True)), Tensor(0.0))

    check_grads(f, x, order=2, rng=rng, draws=1)
    separate = [grad(use(t := Tensor(x), w), [t], weight)[0].value for use, weight in zip(chosen, c, strict=True)]
    t = Tensor(x)
    np.testing.assert_allclose(grad(f(t).sum(), [t])[0].value, sum(separate), rtol=1e-12, atol=1e-12)


def test_the_sum_takes_no_pass_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Mock(wraps=convolution.conv_transpose)
    monkeypatch.setattr(convolution, "conv_transpose", spy)
    x, w = Tensor(np.ones((1, 4, 2))), np.ones((2, 2, 2))
    g = grad(ag.conv(x, w, TAPS) + x, [x], np.ones((1, 4, 2)))[0]
    (residual,) = (call.args[5] for call in spy.call_args_list)
    np.testing.assert_array_equal(residual, np.ones((1, 4, 2)))
    np.testing.assert_array_equal(g.value[0, :, 0], [5, 5, 5, 3])


def test_gradients_share_no_memory() -> None:
    x, y, c = Tensor(np.ones((2, 3))), Tensor(np.ones((2, 3))), np.ones((2, 3))
    z = x + y + ag.reshape(ag.reshape(x, (6,)), (2, 3))
    gradients = [g.value for g in grad(z, [x, y, x, z], c)]
    for i, g in enumerate(gradients):
        others = [x.value, y.value, z.value, c, *gradients[:i]]
        assert not any(np.shares_memory(g, other) for other in others)
        assert g.flags.writeable
    gradients[0][...] = 7
    np.testing.assert_array_equal(grad(z, [x], c)[0].value, 2 * np.ones((2, 3)))


def test_gradients_have_edges_only_with_create_graph() -> None:
    x = Tensor(2.0)
    y = x * x * x
    (once,) = grad(y, [x], create_graph=True)
    (twice,) = grad(once, [x], create_graph=True)
    assert (once.item(), twice.item(), grad(twice, [x])[0].item()) == (12, 12, 6)
    with pytest.raises(ValueError, match="not reach it"):
        grad(grad(y, [x])[0], [x])


def test_create_graph_works_inside_no_grad() -> None:
    x = Tensor(2.0)
    y = x * x * x
    with no_grad():
        (once,) = grad(y, [x], create_graph=True)
    assert grad(once, [x])[0].item() == 12


def test_grad_of_a_graph_of_depth_100_000() -> None:
    x = Tensor(0.5)
    y = chain(x, 100_000)
    (g,) = grad(y, [x])
    assert 0 < g.item() < 1
    del y, g  # freeing the chain must not overflow the C stack


def test_unreached_inputs_raise_unless_allowed() -> None:
    x, y = Tensor(np.ones(2)), Tensor(np.ones((3, 1), np.float32))
    with pytest.raises(ValueError, match=r"inputs\[1\]: expected .* shape \(3, 1\) that does not reach"):
        grad(x.sum(), [x, y])
    zeros = grad(x.sum(), [x, y], allow_unreached=True)[1]
    assert zeros.dtype == np.float32
    np.testing.assert_array_equal(zeros.value, np.zeros((3, 1)))


def test_non_scalar_output_requires_a_cotangent() -> None:
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"output: expected one element, got shape \(2, 3\)"):
        grad(x * 2, [x])
    with pytest.raises(ValueError, match=r"cotangent: expected shape \(2, 3\), as output has, got \(3,\)"):
        grad(x * 2, [x], np.ones(3))
    assert grad(x[:1, :1], [x])[0].shape == (2, 3)  # a single element needs no cotangent


def test_gradients_are_differentiable_in_the_cotangent() -> None:
    x, c = Tensor(np.array([2.0, 3.0])), Tensor(np.array([5.0, 7.0]))
    (g,) = grad(x * x, [x], c, create_graph=True)
    np.testing.assert_array_equal(grad(g.sum(), [c])[0].value, 2 * x.value)


def test_inputs_must_be_floating_tensors_in_a_sequence() -> None:
    x = Tensor(np.ones(2))
    with pytest.raises(TypeError, match="expected a sequence of Tensors"):
        grad(x.sum(), x)
    with pytest.raises(TypeError, match=r"inputs\[0\]: expected a floating-point Tensor, got ndarray"):
        grad(x.sum(), [np.ones(2)])  # type: ignore[list-item]
    integers = Tensor(np.arange(3))
    with pytest.raises(TypeError, match="int64"):
        grad(integers.sum() * 1.0, [integers])
    with pytest.raises(TypeError, match="output: expected a Tensor"):
        grad(1.0, [x])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no derivative"):
        grad(integers.sum(), [x])


def test_inputs_may_be_an_iterator_but_not_empty() -> None:
    w = Parameter([3.0])
    assert [g.item() for g in grad((w * w).sum(), (x for x in [w]))] == [6]
    derivative = value_and_grad(lambda: (w * w).sum(), iter([w]))
    assert [derivative()[1][0].item() for _ in range(2)] == [6, 6]
    for empty in (lambda: grad((w * w).sum(), []), lambda: value_and_grad(lambda: w, [])):
        with pytest.raises(ValueError, match="inputs: expected at least one Tensor"):
            empty()


def test_gradients_have_the_dtypes_of_their_inputs() -> None:
    narrow, wide = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    y = narrow * wide
    assert y.dtype == np.float64
    assert [g.dtype for g in grad(y.sum(), [narrow, wide])] == [np.float32, np.float64]


def test_graphs_have_no_reference_cycles() -> None:
    x = Tensor(np.linspace(0.5, 1, 6).reshape(2, 3))
    with without_collector():
        y = ag.softmax(ag.exp(x) @ ag.sqrt(x).T) + ag.logsumexp(ag.tanh(x), 1) + ag.sigmoid(ag.max(x, 1)) ** 2
        loss = (y / ag.sum(y)).sum()
        graph = [weakref.ref(y), weakref.ref(loss), weakref.ref(loss.edges[0][0])]
        (g,) = grad(loss, [x], create_graph=True)
        second = grad((g * g).sum(), [x])[0]
        graph += [weakref.ref(g), weakref.ref(second)]
        del y, loss, g, second
        assert [ref() for ref in graph] == [None] * len(graph)


def test_value_and_grad_frees_activations_during_the_backward_pass() -> None:
    layers, elements = 60, 20_000
    x = Tensor(np.linspace(0, 1, elements))

    def f(x: Tensor) -> Tensor:
        for _ in range(layers):
            x = ag.tanh(x)
        return x.sum()

    def keeping_the_graph() -> None:
        y = f(x)
        gc.collect()
        grad(y, [x])

    alive: list[int] = []

    def watched(x: Tensor) -> Tensor:
        """When the backward pass is halfway, count how many activations of the second half are still alive."""
        later: list[weakref.ref[Tensor]] = []

        def vjp(g: Tensor, y: Tensor) -> Tensor:
            alive.append(sum(ref() is not None for ref in later))
            return g

        x = chain(x, layers // 2)
        x = node("watched", x.value, (x, vjp))
        for _ in range(layers // 2):
            x = ag.tanh(x)
            later.append(weakref.ref(x))
        return x.sum()

    value_and_grad(watched)(x)
    assert alive == [0]
    with without_collector():
        assert peak(lambda: value_and_grad(f)(x)) < (layers + 8) * x.value.nbytes
        assert peak(keeping_the_graph) < (layers + 8) * x.value.nbytes


def test_grad_frees_intermediate_gradients() -> None:
    """The peak is a few arrays, not one for each of the 60 operations."""
    x = Tensor(np.linspace(0, 1, 20_000))
    y = chain(x, 60).sum()
    assert peak(lambda: grad(y, [x])) < 8 * x.value.nbytes


UNARY: list[Callable[[Tensor], Tensor]] = [ag.sin, ag.tanh, ag.exp, ag.sigmoid, ag.softplus, lambda x: x * x]


BINARY: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (2 + ag.tanh(b)),
    lambda a, b: a @ ag.transpose(b) @ a,
]


@st.composite
def programs(draw: DrawFn) -> Callable[..., Tensor]:
    """Random expressions of 3 × 3 matrices in which every intermediate result may be used several times."""
    steps: list[tuple[Any, list[int]]] = []
    for count in range(2, 2 + draw(st.integers(1, 10))):
        f = draw(st.sampled_from([*UNARY, *BINARY]))
        steps.append((f, [draw(st.integers(0, count - 1)) for _ in range(1 if f in UNARY else 2)]))

    def program(*inputs: Tensor) -> Tensor:
        results = list(inputs)
        for f, arguments in steps:
            results.append(ag.tanh(f(*(results[i] for i in arguments))))  # tanh keeps the values of order 1
        # Different weights; with equal ones, b + tanh(a − b) would not depend on b at a = b.
        weights = 0.9 ** np.arange(len(results))[:, None, None]
        return (ag.stack(results) * weights).sum(0)

    return program


@given(program=programs(), a=draws.arrays((3, 3)), b=draws.arrays((3, 3)), rng=draws.rngs())
def test_derivatives_of_random_programs(
    program: Callable[..., Tensor], a: Array, b: Array, rng: np.random.Generator
) -> None:
    check_grads(program, a, b, order=2, rng=rng, draws=1)


@pytest.mark.parametrize(
    ("returned", "error"), [(np.ones(2), TypeError), (None, TypeError), (Tensor(np.ones(3)), None)]
)
def test_invalid_result_of_a_vjp_names_the_operation(returned: Any, error: type[Exception] | None) -> None:
    x = Tensor(np.ones(2))
    y = node("erf", x.value, (x, lambda g, y: returned))
    if error is None:
        with pytest.raises(ValueError, match="sum_to") as caught:
            grad(y, [x], np.ones(2))
        assert caught.value.__notes__ == ["in the VJP of 'erf' for parent 0"]
    else:
        with pytest.raises(error, match=r"the VJP of 'erf' for parent 0: expected a Tensor, got \w+"):
            grad(y, [x], np.ones(2))


def test_exception_in_a_vjp_names_the_operation() -> None:
    x = Tensor(np.ones(2))

    def fail(g: Tensor, y: Tensor) -> Tensor:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost") as caught:
        grad(node("erf", x.value, (2.0, fail), (x, fail)).sum(), [x])
    assert caught.value.__notes__ == ["in the VJP of 'erf' for parent 0"]


def test_vjps_use_the_indices_and_bounds_of_the_forward_pass() -> None:
    x = Tensor(np.arange(4.0))
    k, low, high = np.array([0, 1]), np.zeros(4), np.full(4, 2.0)
    y = x[k].sum() + x[[k]].sum() + ag.take_along_axis(x, k, 0).sum() + ag.clip(x, low, high).sum()
    k[:], low[:] = 3, 9
    np.testing.assert_array_equal(grad(y, [x])[0].value, [4, 4, 1, 0])
    places = np.array([0, 1])
    z = ag.scatter_add(x[:2], places, (4,)) + ag.put_along_axis(x[:2], places, 0, (4,))
    places[:] = 3
    np.testing.assert_array_equal(grad(z, [x], np.array([1.0, 2.0, 3.0, 4.0]))[0].value, [2, 4, 0, 0])


def test_grad_does_not_visit_nodes_older_than_the_inputs() -> None:
    class Watched(Tensor):
        @property
        def edges(self) -> Any:
            raise AssertionError("a node older than the inputs was visited")

        @edges.setter
        def edges(self, value: Any) -> None: ...

    w, older = Parameter([2.0], np.float64), Watched(3.0)
    w.assign(np.array([5.0]))  # makes w newer than `older`, but still older than every node that depends on w
    x = Tensor(2.0)
    assert grad(older * x, [x])[0].item() == 3
    y = w * x
    z = y * Tensor(1.0)
    assert [g.item() for g in grad(z.sum(), [w, y])] == [2, 1]
