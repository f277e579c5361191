"""Optimisers: from gradients to new values of the parameters.

    adam = Adam(model.parameters(), lr=cosine(1e-3, steps=10_000, warmup=100))
    value, gradients = value_and_grad(loss, inputs=model.parameters())(x)
    gradients, norm = clip_by_global_norm(gradients, 1.0)
    adam.step(gradients)

Values are replaced, never changed in place. A step is taken wholly or, if a gradient is at fault, not at all. A
learning rate is a number or a schedule: a function from the number of steps taken so far to a number.

Checked by: tests/test_optim.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from .autograd import Array, Parameter, Tensor
from .kernels.adam import adam
from .nn.state import State, check_fit

Schedule: TypeAlias = Callable[[int], float]


class NonFiniteGradientError(FloatingPointError, ValueError):
    """Entries of a gradient are NaN or infinite, or their squares are where these are needed.

    `index` says which one of the gradients it is.
    """

    def __init__(self, index: int, gradient: Array) -> None:
        bad = np.count_nonzero(~np.isfinite(gradient))
        fault = f"{bad} of {gradient.size} entries are NaN or infinite"
        if not bad:
            fault = f"entries of up to {np.abs(gradient).max():.3g}, whose squares overflow {gradient.dtype}"
        super().__init__(f"gradients[{index}] of shape {gradient.shape}: {fault}")
        self.index = index


class Optimizer:
    """Keeps, for each parameter, the arrays named in `slots`; subclasses say how a value changes.

    Raises ValueError if there are no parameters or one is given twice, or if lr is not positive; TypeError if what is
    given is no Parameter.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Parameter], lr: float | Schedule, **settings: float) -> None:
        self.parameters = _distinct(type(self).__name__, parameters)
        if not callable(lr):
            _require(0 < lr < math.inf, "lr", lr, "a positive number, or a schedule")
        self.lr = lr if callable(lr) else constant(lr)
        self.settings = settings
        self.steps = 0
        # In C order whatever the values are in, so that a flat view can be written through.
        self.kept = {slot: [np.zeros(p.shape, p.dtype) for p in self.parameters] for slot in self.slots}

    def step(self, gradients: Sequence[Tensor | Array]) -> None:
        """Give every parameter a new value.

        Raises ValueError if there are not as many gradients as parameters or one has another shape, its subclass
        NonFiniteGradientError if one is NaN or infinite; nothing has changed then.
        """
        self._follow_dtypes()
        checked = self._checked(gradients)
        lr = float(self.lr(self.steps))
        _require(0 <= lr < math.inf, f"lr at step {self.steps}", lr, "a finite number of at least 0")
        self.steps += 1
        for i, value in enumerate(self._updated(checked, lr)):
            self.parameters[i].assign(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings.items())})"

    def state(self) -> State:
        """Return copies of all it has kept, by name."""
        return {name: value.copy() for name, value in self._arrays().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned. Raises ValueError, having changed nothing, if names or shapes differ."""
        check_fit(type(self).__name__, self._arrays(), state)
        self._follow_dtypes()
        self.steps = int(state["steps"])
        for slot, arrays in self.kept.items():
            for i, array in enumerate(arrays):
                array[...] = state[f"{slot}.{i}"]

    def _follow_dtypes(self) -> None:
        """Keep everything in its parameter's dtype, which `Module.astype` may have changed since the last step."""
        for arrays in self.kept.values():
            arrays[:] = [array.astype(p.dtype, copy=False) for array, p in zip(arrays, self.parameters, strict=True)]

    def _arrays(self) -> State:
        named = {f"{slot}.{i}": array for slot, arrays in self.kept.items() for i, array in enumerate(arrays)}
        return {"steps": np.array(self.steps), **named}

    def _updated(self, gradients: list[Array], lr: float) -> Iterator[Array]:
        raise NotImplementedError

    def _checked(self, gradients: Sequence[Tensor | Array]) -> list[Array]:
        if len(gradients) != len(self.parameters):
            raise ValueError(
                f"gradients: expected one for each of {len(self.parameters)} parameters, got {len(gradients)}"
            )
        arrays = []
        for i, (gradient, parameter) in enumerate(zip(gradients, self.parameters, strict=True)):
            g = gradient.value if isinstance(gradient, Tensor) else np.asarray(gradient)
            if g.shape != parameter.value.shape:
                raise ValueError(f"gradients[{i}]: expected the parameter's shape {parameter.shape}, got {g.shape}")
            arrays.append(g.astype(parameter.value.dtype, copy=False))
        self._check_sizes(arrays, [_norm(i, g) for i, g in enumerate(arrays)])
        return arrays

    def _check_sizes(self, gradients: list[Array], norms: list[float]) -> None:
        """Refuse finite gradients that this optimiser cannot compute with."""


class SGD(Optimizer):
    """Stochastic gradient descent with momentum μ, Nesterov's if wanted.

        u ← μ u + g,   θ ← θ − lr · u        (Nesterov: θ ← θ − lr · (g + μ u))

    Raises ValueError as Optimizer does, or if not 0 ≤ momentum < 1, or for Nesterov's without momentum.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    slots = ("velocity",)

    def __init__(
        self, parameters: Iterable[Parameter], lr: float | Schedule, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        _require(0 <= momentum < 1, "momentum", momentum, "at least 0 and below 1")
        _require(momentum > 0 or not nesterov, "nesterov", nesterov, "False where momentum is 0")
        super().__init__(parameters, lr, momentum=momentum, nesterov=nesterov)

    def _updated(self, gradients: list[Array], lr: float) -> Iterator[Array]:
        momentum, nesterov = self.settings["momentum"], self.settings["nesterov"]
        for parameter, g, u in zip(self.parameters, gradients, self.kept["velocity"], strict=True):
            u *= momentum
            u += g
            yield parameter.value - lr * (g + momentum * u if nesterov else u)


class Adam(Optimizer):
    """Steps of about lr in every direction: the gradient's mean over the root of its square's, bias-corrected.

        m ← m + (1 − β₁)(g − m),   v ← v + (1 − β₂)(g² − v)
        θ ← θ − lr · m̂ / (√v̂ + ε),   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)

    Raises ValueError as Optimizer does, or if not 0 ≤ β < 1 or ε is not positive; a step raises NonFiniteGradientError
    also if g² overflows: v would stay infinite, and the parameter become NaN. It raises TypeError unless parameters are
    float32 or float64: in float16, g² overflows at 256 and ε is 0.
    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    slots = ("m", "v")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        for i, beta in enumerate(betas):
            _require(0 <= beta < 1, f"betas[{i}]", beta, "at least 0 and below 1")
        _require(0 < eps < math.inf, "eps", eps, "a positive number")
        super().__init__(parameters, lr, beta1=betas[0], beta2=betas[1], eps=eps)

    def _check_sizes(self, gradients: list[Array], norms: list[float]) -> None:
        for i, (g, norm) in enumerate(zip(gradients, norms, strict=True)):
            if g.dtype not in (np.float32, np.float64):
                raise TypeError(f"{type(self).__name__} parameters[{i}]: expected float32 or float64, got {g.dtype}")
            bound = math.sqrt(np.finfo(g.dtype).max)
            # No entry exceeds the norm, so the entries are looked at only where the norm is suspect.
            if norm >= bound and np.abs(g).max() >= bound:
                raise NonFiniteGradientError(i, g)

    def _updated(self, gradients: list[Array], lr: float) -> Iterator[Array]:
        beta1, beta2, eps = (self.settings[name] for name in ("beta1", "beta2", "eps"))
        decay = self.settings.get("weight_decay", 0.0)  # AdamW's
        scale, root = lr / (1 - beta1**self.steps), 1 / math.sqrt(1 - beta2**self.steps)
        numbers = 1 - beta1, 1 - beta2, scale, root, eps, 1 - lr * decay
        for parameter, g, m, v in zip(self.parameters, gradients, self.kept["m"], self.kept["v"], strict=True):
            yield adam(parameter.value, g, m, v, numbers)


class AdamW(Adam):
    """Adam with decoupled weight decay λ: θ ← (1 − lr · λ) θ before each step, not by way of the gradient.

    Raises ValueError as Adam does, or if the weight decay is negative.
    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        _require(0 <= weight_decay < math.inf, "weight_decay", weight_decay, "at least 0")
        super().__init__(parameters, lr, betas, eps)
        self.settings["weight_decay"] = weight_decay


def clip_by_global_norm(gradients: Sequence[Tensor], max_norm: float) -> tuple[list[Tensor], float]:
    """Shorten all gradients by one factor if their common norm exceeds max_norm; also return the norm as it was.

        g ← g · min(1, max_norm / ‖g‖),   ‖g‖² = Σᵢ ‖gᵢ‖²

    Raises ValueError if max_norm is not positive, its subclass NonFiniteGradientError if a gradient is NaN or infinite.
    Source: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    _require(max_norm > 0, "max_norm", max_norm, "a positive number")
    norm = math.hypot(*(_norm(i, g.value) for i, g in enumerate(gradients)))
    if norm <= max_norm:
        return list(gradients), norm
    factor = float(max_norm) / norm  # of Python, whose numbers make no float64 of float32
    return [Tensor(g.value * factor) for g in gradients], norm


def _norm(index: int, g: Array) -> float:
    """Return ‖g‖; a NaN or inf shows in it, so this is also the cheapest way to find one."""
    total, kind = float(np.vdot(g, g)), np.finfo(g.dtype)
    # Below the smaller bound, squares that underflow may be a noticeable share of the sum.
    if kind.tiny / kind.eps**2 < total < math.inf or g.size == 0:
        return math.sqrt(total)
    largest = float(np.abs(g).max())
    if not math.isfinite(largest):
        raise NonFiniteGradientError(index, g)
    if largest == 0:
        return 0.0
    # By a power of two, which rounds nothing, and in float64, which has room for the reciprocal of any float32.
    exponent = math.frexp(largest)[1]
    scaled = np.ldexp(g.astype(np.float64), -exponent)
    return math.ldexp(math.sqrt(float(np.vdot(scaled, scaled))), exponent)


def constant(lr: float) -> Schedule:
    """lr at every step"""
    return lambda step: lr


def exponential(lr: float, rate: float) -> Schedule:
    """lr · rateᵗ at step t.  Raises ValueError if not 0 < rate ≤ 1 or lr is not positive."""
    _require(0 < lr < math.inf, "lr", lr, "a positive number")
    _require(0 < rate <= 1, "rate", rate, "above 0 and at most 1")
    return lambda step: lr * rate**step


def cosine(lr: float, steps: int, warmup: int = 0) -> Schedule:
    """Rise linearly to lr over the first `warmup` steps, then fall along half a cosine to 0 after `steps` of them.

    Raises ValueError if lr is not positive or not 0 ≤ warmup < steps.
    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.
    """
    _require(0 < lr < math.inf, "lr", lr, "a positive number")
    _require(0 <= warmup < steps, "warmup", warmup, f"at least 0 and below steps = {steps}")

    def schedule(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        return lr * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup)))) / 2

    return schedule


class EMA:
    """An exponential moving average of parameters: θ̄ ← θ̄ + (1 − decay)(θ − θ̄), starting at θ

        ema.update()                            after every step
        with ema.averaged(): model.sample(…)    the averages stand in for the parameters meanwhile

    Raises ValueError if there are no parameters or one is given twice, or if not 0 ≤ decay < 1.
    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with weights that fade.
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float) -> None:
        _require(0 <= decay < 1, "decay", decay, "at least 0 and below 1")
        self.parameters = _distinct("EMA", parameters)
        self.decay = decay
        self.averages = [p.value.copy() for p in self.parameters]

    def update(self) -> None:
        """Move the averages towards the parameters as they are now."""
        for i, parameter in enumerate(self.parameters):
            mean = self.averages[i]
            self.averages[i] = mean + (1 - self.decay) * (parameter.value - mean)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the parameters their averages inside a `with` block, their own values back after it, come what may."""
        own = [p.value for p in self.parameters]
        try:
            for parameter, mean in zip(self.parameters, self.averages, strict=True):
                parameter.assign(mean)
            yield
        finally:
            for parameter, value in zip(self.parameters, own, strict=True):
                parameter.assign(value)

    def state(self) -> State:
        """Return copies of the averages, by name."""
        return {str(i): mean.copy() for i, mean in enumerate(self.averages)}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned. Raises ValueError, having changed nothing, if names or shapes differ."""
        check_fit("EMA", self.state(), state)
        self.averages = [np.array(state[str(i)], mean.dtype) for i, mean in enumerate(self.averages)]


def _distinct(owner: str, parameters: Iterable[Parameter]) -> list[Parameter]:
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise _no_parameters(owner, f"one {type(parameters).__name__}")
    parameters = list(parameters)
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Parameter):
            raise _no_parameters(owner, f"{type(parameter).__name__} at {i}")
    if not parameters or len({id(p) for p in parameters}) != len(parameters):
        raise ValueError(f"{owner} parameters: expected one or more, each given once, got {len(parameters)}")
    return parameters


def _no_parameters(owner: str, got: str) -> TypeError:
    return TypeError(f"{owner} parameters: expected Parameters (pass model.parameters()), got {got}")


def _require(holds: bool, name: str, value: object, needed: str) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {needed}, got {value}")
