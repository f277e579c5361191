"""Optimisers: SGD, Adam, AdamW and their base class.

Checked by: tests/optim/test_optimizers.py
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Parameter, Tensor
from ..autograd.parameter import adopt, cast
from ..checks import check_nonnegative, check_positive, check_rate, require
from ..kernels.adam import adam
from ..kernels.runtime.arrays import check_shape
from ..nn.module import State
from .buckets import Buckets
from .clipping import NonFiniteGradientError, StepOverflowError, finite_norm
from .schedules import Schedule, constant
from .states import distinct_parameters, matching_dtypes, matching_state

# The smallest number whose square overflows, by dtype
_OVERFLOW = {np.dtype(kind): math.sqrt(np.finfo(kind).max) for kind in (np.float32, np.float64)}


class Optimizer:
    """Base class of the optimisers. Subclasses list their per-parameter buffers in `slots` and define `_new_value`.

    Args:
        parameters: one or more distinct Parameters, such as model.parameters().
        lr: learning rate, or a schedule that maps the number of steps taken so far to a learning rate.

    Raises: TypeError if an element is not a Parameter; ValueError if there are none or duplicates, or lr ≤ 0.
    """

    slots: tuple[str, ...] = ()

    @explained
    def __init__(self, parameters: Iterable[Parameter], lr: float | Schedule, **settings: float | bool) -> None:
        self.parameters = distinct_parameters(type(self).__name__, parameters)
        require(callable(lr) or 0 < lr < math.inf, "lr", "a positive number or a schedule", lr)
        self.lr = lr if callable(lr) else constant(lr)
        self.settings = {name: value if isinstance(value, bool) else float(value) for name, value in settings.items()}
        self.steps = 0
        self.gradient_norm: float | None = None  # of the gradients of the last step
        self._buckets = Buckets(self.parameters)
        # One array per bucket, C-contiguous, so that the kernels can write through a flat view.
        self.buffers = {
            slot: self._buckets.join([np.zeros(p.shape, p.dtype) for p in self.parameters]) for slot in self.slots
        }

    @explained
    def step(self, gradients: Sequence[Tensor | Array]) -> None:
        """Update every parameter. The gradients are in the order of the parameters.

        Raises: ValueError if the number of gradients or a shape is wrong, or a gradient overflows in the dtype of its
        parameter; TypeError if they are not real; NonFiniteGradientError if an entry is NaN or infinite;
        StepOverflowError if a parameter would overflow. In all cases nothing has changed.
        """
        self._match_dtypes()
        joined, lr = self._check(gradients), self._rate()
        self.steps += 1
        try:
            with np.errstate(over="raise"):
                new, buffers = self._after_step(joined, lr)
        except BaseException as error:
            self.steps -= 1
            if not isinstance(error, FloatingPointError):
                raise
            wanted = f"finite parameters after a step with lr = {lr:.3g}"
            raise StepOverflowError(f"gradients: expected {wanted}, got an {error}") from error
        self.buffers = buffers
        for parameter, array in zip(self.parameters, self._buckets.split(new), strict=True):
            adopt(parameter, array)

    def _after_step(self, gradients: list[Array], lr: float) -> tuple[list[Array], dict[str, list[Array]]]:
        """Return the values and the buffers after a step, one array per bucket."""
        values, new, changed = self._buckets.join([parameter.value for parameter in self.parameters]), [], []
        for value, g, *buffers in zip(values, gradients, *self.buffers.values(), strict=True):
            array = self._new_value(value, g, buffers, lr)
            check_shape("value", array, value.shape)
            new.append(array if array.dtype == value.dtype else cast("value", array, value.dtype))
            changed.append(buffers)
        return new, {slot: [buffers[i] for buffers in changed] for i, slot in enumerate(self.slots)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings.items())})"

    def state(self) -> State:
        """Return a copy of the state by name: the number of steps and every buffer."""
        return {name: value.copy() for name, value in self._arrays().items()}

    @explained
    def load(self, state: Mapping[str, Array]) -> None:
        """Restore a state returned by `state`. Raises ValueError and changes nothing if it does not fit."""
        loaded = self.check_state(state)
        self.steps = int(loaded["steps"])
        for slot in self.slots:
            self.buffers[slot] = self._buckets.join([loaded[f"{slot}.{i}"] for i in range(len(self.parameters))])

    @explained
    def check_state(self, state: Mapping[str, Array]) -> State:
        """Return a copy of a state in the dtypes of the parameters. Raises ValueError if `load` would."""
        loaded = matching_state(type(self).__name__, self._arrays(), state)
        require(bool(loaded["steps"] >= 0), "steps", "at least 0", loaded["steps"])
        return loaded

    def _arrays(self) -> State:
        self._match_dtypes()
        arrays = {slot: self._buckets.split(joined) for slot, joined in self.buffers.items()}
        named = {f"{slot}.{i}": array for slot in self.slots for i, array in enumerate(arrays[slot])}
        return {"steps": np.array(self.steps), **named}

    def _match_dtypes(self) -> None:
        """Convert the buffers to the dtypes of the parameters, which `Module.astype` may have changed."""
        if self._buckets.dtypes == [p.value.dtype for p in self.parameters]:
            return
        arrays = {
            slot: matching_dtypes(f"{type(self).__name__}.{slot}", self._buckets.split(joined), self.parameters)
            for slot, joined in self.buffers.items()
        }
        self._buckets = Buckets(self.parameters)
        self.buffers = {slot: self._buckets.join(arrays[slot]) for slot in self.slots}

    def _check(self, gradients: Sequence[Tensor | Array]) -> list[Array]:
        """Return one array of gradients per bucket, and set `gradient_norm`."""
        n = len(self.parameters)
        if len(gradients) != n:
            raise ValueError(f"gradients: expected one for each of {n} parameters, got {len(gradients)}")
        arrays = []
        for i, (gradient, parameter) in enumerate(zip(gradients, self.parameters, strict=True)):
            g = gradient.value if isinstance(gradient, Tensor) else np.asarray(gradient)
            if g.shape != parameter.value.shape:
                raise ValueError(f"gradients[{i}]: expected the parameter's shape {parameter.shape}, got {g.shape}")
            arrays.append(g if g.dtype == parameter.value.dtype else cast(f"gradients[{i}]", g, parameter.dtype))
        joined = self._buckets.join(arrays)
        try:
            norms = [self._norm(indices[0], g) for indices, g in zip(self._buckets.indices, joined, strict=True)]
        except NonFiniteGradientError:
            for i, g in enumerate(arrays):  # the error is to name the gradient, not the bucket
                self._norm(i, g)
            raise
        self.gradient_norm = math.hypot(*norms)
        return joined

    def _rate(self) -> float:
        """Return the learning rate of the next step."""
        lr = float(self.lr(self.steps))
        if not 0 <= lr < math.inf:
            raise ValueError(f"lr at step {self.steps}: expected a finite number of at least 0, got {lr}")
        return lr

    def _norm(self, index: int, g: Array) -> float:
        """Return ‖g‖. Raises an error if a step with this gradient is impossible."""
        return finite_norm(index, g)

    def _new_value(self, value: Array, g: Array, buffers: list[Array], lr: float) -> Array:
        """Return the value after the step, as a new array, and replace the buffers in the list or update them in place.

        The arrays hold one parameter, or several small ones joined to a vector.
        """
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum μ and optional Nesterov acceleration.

        u ← μ u + g,   θ ← θ − lr · u        (Nesterov: θ ← θ − lr · (g + μ u))

    Raises: as in Optimizer; ValueError unless 0 ≤ momentum < 1, or if nesterov is used without momentum.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    Example:
        >>> p = Parameter([1.0, 2.0])
        >>> SGD([p], lr=0.5).step([Tensor([2.0, 0.0])])
        >>> p.value.tolist()
        [0.0, 2.0]
    """

    slots = ("velocity",)

    @checked
    def __init__(
        self, parameters: Iterable[Parameter], lr: float | Schedule, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        check_rate("momentum", momentum)
        require(momentum > 0 or not nesterov, "nesterov", "False if momentum is 0", nesterov)
        super().__init__(parameters, lr, momentum=momentum, nesterov=nesterov)

    def _new_value(self, value: Array, g: Array, buffers: list[Array], lr: float) -> Array:
        momentum, nesterov = self.settings["momentum"], self.settings["nesterov"]
        buffers[0] = u = np.multiply(momentum, buffers[0], np.empty_like(g))
        u += g
        return value - lr * (g + momentum * u if nesterov else u)


class Adam(Optimizer):
    """Adam: moving averages of the gradient and of its square, with bias correction.

        m ← m + (1 − β₁)(g − m),   v ← v + (1 − β₂)(g² − v)
        θ ← θ − lr · m̂ / (√v̂ + ε),   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)

    Raises: as in Optimizer; ValueError unless 0 ≤ β < 1 and ε > 0. `step` also raises NonFiniteGradientError if g²
    overflows (v would stay infinite and the parameter would become NaN), and TypeError unless the parameters are
    float32 or float64 (in float16, g² overflows from |g| = 256 and ε rounds to 0), and ValueError if lr²
    overflows in float32.
    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.

    Example:
        >>> p = Parameter([1.0, 2.0])
        >>> Adam([p], lr=0.1).step([Tensor([5.0, -0.01])])
        >>> p.value  # the first step is lr · sign(g)
        array([0.9, 2.1], dtype=float32)
    """

    slots = ("m", "v")

    @checked
    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        for i, beta in enumerate(betas):
            check_rate(f"betas[{i}]", beta)
        check_positive(eps=eps)
        super().__init__(parameters, lr, beta1=betas[0], beta2=betas[1], eps=eps)
        self._match_dtypes()

    def _match_dtypes(self) -> None:
        super()._match_dtypes()
        for dtype in _OVERFLOW.keys() & set(self._buckets.dtypes):  # where g = 0, the step would be 0 / 0
            require(dtype.type(self.settings["eps"]) > 0, "eps", f"above 0 in {dtype}", self.settings["eps"])

    @explained
    def check_state(self, state: Mapping[str, Array]) -> State:
        loaded = super().check_state(state)
        for i in range(len(self.parameters)):
            require(bool((loaded[f"v.{i}"] >= 0).all()), f"v.{i}", "numbers of at least 0", "negative ones")
        return loaded

    def _rate(self) -> float:
        lr = super()._rate()
        if lr >= _OVERFLOW[np.dtype(np.float32)]:
            raise ValueError(f"lr at step {self.steps}: expected below {_OVERFLOW[np.dtype(np.float32)]:.3g}, got {lr}")
        return lr

    def _norm(self, index: int, g: Array) -> float:
        if g.dtype not in _OVERFLOW:
            raise TypeError(f"{type(self).__name__} parameters[{index}]: expected float32 or float64, got {g.dtype}")
        norm = super()._norm(index, g)
        # The norm bounds every entry, so most gradients need no second pass.
        if norm >= _OVERFLOW[g.dtype] and np.abs(g).max() >= _OVERFLOW[g.dtype]:
            raise NonFiniteGradientError(index, g)
        return norm

    def _new_value(self, value: Array, g: Array, buffers: list[Array], lr: float) -> Array:
        beta1, beta2, eps = (self.settings[name] for name in ("beta1", "beta2", "eps"))
        decay = self.settings.get("weight_decay", 0.0)  # set only by AdamW
        scale, root = lr / (1 - beta1**self.steps), 1 / math.sqrt(1 - beta2**self.steps)
        m, v = buffers
        return adam(value, g, m, v, (1 - beta1, 1 - beta2, scale, root, eps, 1 - lr * decay))


class AdamW(Adam):
    """Adam with decoupled weight decay λ: the step is preceded by θ ← (1 − lr · λ) θ; the gradient has no λ θ term.

    Raises: as in Adam; ValueError if the weight decay is negative.
    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
    """

    @checked
    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        check_nonnegative(weight_decay=weight_decay)
        super().__init__(parameters, lr, betas, eps)
        self.settings["weight_decay"] = float(weight_decay)
