"""Every public function answers bad input with an error that names the argument, or accepts it.

The table in helpers/public_calls.py has a valid call of every public function. Each test replaces one argument at a
time by each of BAD. The error must be a TypeError or ValueError (or IndexError or ArithmeticError, if documented), and
its message must contain the argument's name; an operation may instead start with its own name and list the shapes it
got, as NumPy does. An AttributeError, a KeyError or an unexplained error of NumPy fails.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.public_calls import Call, calls

CALLS = calls()
BAD: dict[str, Any] = {
    "None": None, "string": "half", "object": object(), "dict": {}, "bool": True, "negative": -3, "fraction": 0.5,
    "NaN": float("nan"), "huge": 2**70, "ragged": [[1, 2], [3]], "empty": np.zeros(0), "shape": np.ones((3, 5, 7)),
    "complex": np.array([1j, 2j]), "strings": np.array(["a", "b"]), "objects": np.array([None, 1], object),
}  # fmt: skip
# Public names without a call in the table, and why.
WITHOUT_CALL = {
    "autograd": "Array TensorLike PRIMITIVES no_grad node primitive",  # types, decorators and a module
    "nn": "Module Sequential MaskedConv MaskedMLP init",  # used by the layers and models in the table
    "distributions": "Distribution Likelihood Output event_log_prob",  # protocols; called by every `loss`
    "bijections": (  # base classes, and what the flows in the table are made of
        "Bijection Chain Inverse Flow Transformer ContinuousFlow AdditiveCoupling AffineCoupling Mask Dequantized "
        "FactorOut MaskedAutoregressive AffineTransformer MixtureCDF multi_scale"
    ),
    "data": (  # downloads, and records and densities without arguments
        "DataFileError ToyDensity GaussianMixture binarized_mnist cifar10 fashion_mnist mnist data_folder "
        "eight_gaussians ring_of_gaussians grid_of_gaussians"
    ),
    "ode": "DORMAND_PRINCE RK4 IntegrationError Solution Solver State Tableau VectorField solve_with_adjoint",
    "optim": "AdamW NonFiniteGradientError Optimizer Schedule",  # the base class's checks are those of Adam
    "kernels": "AtPosition GatedUnit gated_activation_vjp",  # tests/kernels has their bounds
}
# Faults that remain: errors that name another argument than the one replaced, or only the operation within.
KNOWN = {
    "autograd.hvp": "x bool, x negative",  # inputs[0]
    "autograd.lstm_cell": "a bool, a negative, a fraction, a NaN, a empty, c empty, c shape",  # split, multiply
    "nn.Conv.__call__": "x bool, x negative, x fraction, x NaN, x empty, x shape",  # conv, with the shapes
    "nn.ConvTranspose.__call__": "y bool, y negative, y fraction, y NaN, y empty, y shape",  # conv_transpose
    **dict.fromkeys(  # z
        ["StandardNormal.log_prob", "StandardUniform.log_prob"],
        "x bool, x negative, x fraction, x NaN, x empty, x shape",
    ),
    "FixedStep.__call__": "y strings, y objects",
    "product": "b empty, b shape, b complex, b strings, b objects",  # bias
}


def accepted_or_named(call: Call, argument: str, bad: str) -> str | None:
    """Return None if the call accepts the value or its error names the argument, else the error."""
    try:
        call.function(**{**call.arguments, argument: BAD[bad]})
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        own = call.name.rpartition(".")[2] + ": "
        if re.search(rf"\b{argument}\b", str(error)) or str(error).startswith(own):
            return None
        return f"{argument}, {bad}: {type(error).__name__}: {error}"
    except Exception as error:
        return f"{argument}, {bad}: {type(error).__name__}: {error}"
    return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_argument(name: str) -> None:
    call = CALLS[name]
    call.function(**call.arguments)
    faults = {
        f"{argument} {bad}": accepted_or_named(call, argument, bad) for argument, bad in product(call.arguments, BAD)
    }
    named = {pair for pair, fault in faults.items() if not fault}
    known = {pair for pair in KNOWN.get(name, "").split(", ") if pair}
    assert faults.keys() - named == known, "\n".join(f"{pair}: {fault}" for pair, fault in faults.items() if fault)


def public_names() -> Iterator[tuple[str, str]]:
    for package in ("autograd", "nn", "distributions", "bijections", "models", "data", "ode", "optim", "kernels"):
        module = importlib.import_module(f"tinygen.{package}")
        yield from ((package, name) for name in module.__all__)


def test_every_public_name_has_a_call() -> None:
    called = {part for name in CALLS for part in name.split(".")}
    missing = {(package, name) for package, name in public_names() if name not in called}
    assert missing == {(package, name) for package, names in WITHOUT_CALL.items() for name in names.split()}


@pytest.mark.parametrize("broken", [lambda x: x.ndim, lambda x: {}[x], lambda x: float(x)])
def test_a_function_without_checks_is_rejected(broken: Any) -> None:
    assert inspect.isfunction(broken)
    assert any(accepted_or_named(Call("broken", broken, {"x": 1.0}), "x", bad) for bad in BAD)
