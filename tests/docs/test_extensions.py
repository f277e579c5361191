"""Docstrings become reStructuredText; code is included by name; unknown TeX is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sphinx")

from latex2mathml.converter import convert as convert_tex

from docs._ext.docstrings import convert
from docs._ext.glossary import entries, first_uses
from docs._ext.mathml import spaced, unknown_commands
from docs._ext.sources import ROOT, comment_of, constant, lines_of


def test_sections_equations_and_code_of_a_docstring() -> None:
    docstring = """Layer of *x* and `w`, where x_ is
    continued.

        y = x * w

    Args:
        x: the first,
            continued.
        mask, rng: others.

    Shapes: x (N, *shape).
    Raises: ValueError if x is empty.

    Example:
        >>> f(1)

        2
    """
    lines = [line.removeprefix("    ") for line in docstring.splitlines()]
    assert convert(lines) == [
        r"Layer of \*x\* and \ ``w``\ , where x\_ is continued.", "",
        "::", "", "    y = x * w", "",
        ":Args:", "    - ``x``: the first, continued.", "    - ``mask, rng``: others.", "",
        ":Shapes:", r"    x (N, \*shape).", "",
        ":Raises:", "    ValueError if x is empty.", "",
        ":Example:", "    ::", "", "        >>> f(1)", "", "        2", "",
    ]  # fmt: skip


def test_lines_are_those_of_the_definition() -> None:
    path = Path(__file__)
    code, line = lines_of(path, "test_lines_are_those_of_the_definition")
    assert code.startswith("def test_lines_are_those_of_the_definition() -> None:\n    path = Path(__file__)")
    assert path.read_text(encoding="utf-8").splitlines()[line - 1] == code.splitlines()[0]
    whole = lines_of(ROOT / "docs" / "claims.py", "Claim.tested_as")[0]
    assert whole.startswith('@property\ndef tested_as(self) -> str:\n    """The claim')
    assert lines_of(ROOT / "docs" / "claims.py", "Claim.tested_as", docstring=False)[0] in whole.replace(
        '    """The claim as the example tests it: the first paragraph of its docstring."""\n', ""
    )


def test_names_that_are_gone_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"docs/claims.py: Claim.nothing is not defined"):
        lines_of(ROOT / "docs" / "claims.py", "Claim.nothing")


def test_unknown_commands_are_found() -> None:
    assert not unknown_commands(r"\frac{\partial y}{\partial x} \odot \bar x")
    assert unknown_commands(r"x \nosuchcommand y") == [r"\nosuchcommand"]
    assert unknown_commands(r"\text{a\_b}") == [r"\_"]


def test_functions_are_separated_from_factors_and_arguments() -> None:
    space, ln, p = '<mspace width="0.167em" />', "<mi>ln</mi>", "<mi>p</mi>"
    bracket = '<mo stretchy="false">&#x00028;</mo>'
    assert spaced(f"{p}{ln}{p}") == f"{p}{space}{ln}{space}{p}"
    assert spaced(f"<mo>+</mo>{ln}{bracket}") == f"<mo>+</mo>{ln}{bracket}"  # an operator and a bracket need no space
    assert spaced(convert_tex(r"z \sim q")).count("<mo>&#x0223C;</mo>") == 1
    assert spaced(f"<msup>{ln}<mn>2</mn></msup>") == f"<msup>{ln}<mn>2</mn></msup>"


def test_first_uses_of_terms_are_found() -> None:
    text = "Taps, taps and an IAF flow: flows, overflow; a mask a reader sees, mask A, importance\nweights, ELBO, elbo."
    seen = {"ELBO"}
    uses = {text[start:end]: term for start, end, term in first_uses(text, seen)}
    assert uses == {"Taps": "taps", "flow": "flow", "mask A": "mask A", "importance\nweights": "importance weight"}
    assert seen == {"taps", "flow", "mask A", "importance weight", "ELBO"}
    assert entries()["mask B"] == entries()["mask A"]
    assert entries()["nats"] == "the unit of information for natural logarithms; 1 nat = 1/ln 2 ≈ 1.44 bits"


def test_constants_and_their_comments() -> None:
    for name, text in (("RK4", "The classical Runge-Kutta method, of order 4."), ("VectorField", "f(t, y) = dy/dt")):
        found = constant("tinygen.ode", name)
        assert found is not None
        assert comment_of(found[0], found[1].lineno) == text
    assert constant("tinygen.ode", "nothing") is None
