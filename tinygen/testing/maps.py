"""The two directions of an invertible map, called as functions of arrays, and what both of its checks reject.

Checked by: tests/testing/test_flows.py, tests/testing/test_flow_functions.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Array
from ..autograd.parameter import adopt
from ..checks import check_rng, require
from ..nn import Module
from .calls import Convert, Function, check_input, resolution

Result = tuple[Array, Array | None]  # the image, and the log_det if there is one


class Maps:
    """forward and inverse (None if only forward is known): functions of x, or methods of one object."""

    def __init__(
        self,
        checker: str,
        forward: Any,
        inverse: Any,
        x: Array,
        context: Array | None,
        rng: np.random.Generator,
        convert: Convert,
    ) -> None:
        check_rng(rng)
        check_input("x", x, least=2)
        self.checker, self.x, self.context, self.rng = checker, x, context, rng
        self.module = forward if isinstance(forward, Module) else None
        if context is not None:
            check_input("context", context, kinds="fiub")
            varied = len(context) == len(x) and not np.array_equal(context, np.roll(context, 1, 0))
            require(varied, "context", f"{len(x)} rows that are not all equal", f"shape {context.shape}")
        if isinstance(forward, type):
            raise TypeError(
                f"forward: expected a function or an object, got the class {forward.__name__}; pass an instance"
            )
        if hasattr(forward, "forward"):
            inverse = getattr(forward, "inverse", None) if inverse is None else inverse
            forward = forward.forward
        elif not callable(forward):
            kind = "None" if forward is None else type(forward).__name__
            raise TypeError(f"forward: expected a function, or an object with a method forward, got {kind}")
        rest = [] if context is None else ["context"]
        self.forward = Function(checker, "forward", forward, ["x", *rest], convert)
        self.inverse = None if inverse is None else Function(checker, "inverse", inverse, ["z", *rest], convert)

    def apply(self, direction: str, x: Array, context: Array | None = None) -> Result:
        """Apply forward or inverse, and check the dtypes, shapes and finiteness of the results."""
        f = self.forward if direction == "forward" else self.inverse
        assert f is not None
        result = f.raw(x) if context is None else f.raw(x, context)
        pair = result if isinstance(result, tuple | list) else (result, None)
        if len(pair) != 2:
            raise AssertionError(f"{self.checker}: {direction}: expected (image, log_det), got {len(pair)} results")
        z, log_det = f.array(pair[0]), None if pair[1] is None else f.array(pair[1])
        if z.ndim == 0 or len(z) != len(x) or z.size != x.size:
            raise AssertionError(
                f"{self.checker}: {direction} maps {x.shape} to {z.shape}; a bijection preserves the dimension"
            )
        narrow = f.convert is not None and z.dtype == np.float32
        if not (z.dtype == x.dtype or narrow):
            fix = "use bijection.astype(np.float64)" if self.module else "is an array inside it of another dtype?"
            raise AssertionError(f"{self.checker}: {direction}: expected {x.dtype}, got {z.dtype}; {fix}")
        f.finite(z)
        if log_det is not None:
            self._check_log_det(f, log_det, z)
        return z, log_det

    def prepare(self, tolerance: float | None = None) -> Result:
        """Return forward(x), after rejecting vacuous checks and maps whose examples affect each other.

        Examples may affect each other within a tolerance that the user has passed.
        """
        parameters = self.module.named_parameters() if self.module else {}
        if self.module:
            require(self.x.dtype == np.float64, "x", "float64", self.x.dtype)
        for path, parameter in parameters.items():
            hint = "; use bijection.astype(np.float64)"
            require(parameter.dtype == np.float64, f"parameter {path}", "float64", f"{parameter.dtype}{hint}")
        x, context, name = self.x, self.context, self.checker
        z, log_det = self.apply("forward", x, context)
        again, log_det_again = self.apply("forward", x, context)
        if not (np.array_equal(z, again) and _equal(log_det, log_det_again)):
            raise AssertionError(f"{name}: two calls of forward differ; disable its dropout (model.eval() in PyTorch)")
        if z.shape == x.shape and np.abs(z - x).max() <= 1e-3 * np.abs(x).max():
            raise AssertionError(
                f"{name}: the map is the identity to within 1e-3, for which every check passes. Randomise its "
                f"parameters first if it is initialised to the identity"
            )
        for path, parameter in parameters.items():
            value = parameter.value
            parameter.assign(value + 1e-3 * self.rng.normal(size=value.shape))
            try:
                moved, moved_log_det = self.apply("forward", x, context)
            finally:
                adopt(parameter, value)
            if value.size and np.array_equal(moved, z) and _equal(moved_log_det, log_det):
                raise AssertionError(
                    f"{name}: parameter {path} changes nothing. Is it unused, or is a layer after it initialised to "
                    f"zero, so that part of the map is the identity? Randomise the parameters first"
                )
        if context is not None and np.array_equal(self.apply("forward", x, np.roll(context, 1, 0))[0], z):
            raise AssertionError(f"{name}: forward ignores its context; is it passed on to every layer?")
        # Not bitwise: an iterative solver may take one more step for the whole batch.
        near = max(1e-9 if resolution(z) < 1e-10 else 1e-4, tolerance or 0.0)
        for changed, kept in ((0, slice(1, None)), (len(x) - 1, slice(-1))):
            self._require_independent_examples(z, log_det, changed, kept, near)
        return z, log_det

    def _require_independent_examples(
        self, z: Array, log_det: Array | None, changed: int, kept: slice, near: float
    ) -> None:
        others = self.x.copy()
        others[changed] = (self.x[changed] + self.x[changed - 1]) / 2  # inside the domain if it is convex
        moved, moved_log_det = self.apply("forward", others, self.context)
        if not np.allclose(moved[kept], z[kept], near, near):
            raise AssertionError(
                f"{self.checker}: changing example {changed} changes other outputs; is there an average over the "
                f"batch? If an adaptive solver chooses its steps for the whole batch, pass a larger tolerance"
            )
        pair = (moved_log_det, log_det)
        if not (pair[0] is None or pair[1] is None or np.allclose(pair[0][kept], pair[1][kept], near, near)):
            raise AssertionError(
                f"{self.checker}: changing example {changed} changes other outputs: the log_dets, but not the images; "
                f"is log_det a sum or mean over the batch?"
            )

    def _check_log_det(self, f: Function, log_det: Array, z: Array) -> None:
        n = len(z)
        if log_det.shape != (n,):
            cause = (
                "return one number per example, not a sum or mean over the batch"
                if log_det.size == 1
                else "remove the last axis"
                if log_det.shape == (n, 1)
                else "sum over dimensions"
            )
            raise AssertionError(f"{self.checker}: log_det of {f.name}: expected ({n},), got {log_det.shape}; {cause}")
        if log_det.dtype != z.dtype:
            raise AssertionError(
                f"{self.checker}: log_det of {f.name}: expected {z.dtype} as the image, got {log_det.dtype}; compute "
                f"it in the dtype of x"
            )
        f.finite(log_det, "log_det")


def _equal(a: Array | None, b: Array | None) -> bool:
    return a is None or b is None or np.array_equal(a, b)
