"""Turn the docstrings of tinygen, which are plain text, into reStructuredText for autodoc; shorten signatures.

    an indented paragraph       an equation, a table or code: shown as typed
    Args:, Shapes:, Raises: …   a field; `name: text` below Args: is an item
    Example:                    a code block
    `name`                      code
    tests/….py, tinygen/….py    a link to the file

Checked by: tests/docs/test_extensions.py
"""

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from tinygen import ode
from tinygen.autograd import tensor

# Type aliases and constants, which Sphinx would expand. Longer ones come before those that they contain.
ALIASES = {
    stringify_annotation(alias, "smart"): name
    for name, alias in {
        "Solver": ode.Solver,
        "VectorField": ode.VectorField,
        "TensorLike": tensor.TensorLike,
        "Array": tensor.Array,
    }.items()
}
ALIASES |= {repr(ode.RK4): "RK4", repr(ode.DORMAND_PRINCE): "DORMAND_PRINCE"}
SECTION = re.compile(r"((?:Args|Shapes?|Returns|Yields|Raises|Source|Checked by|Notes?|Example)(?:, \w+)*):(?: (.*)|$)")
ITEM = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")


def inline(text: str) -> str:
    """Escape what is markup in reStructuredText but not in a docstring; `x` becomes code, and **x** stays bold."""
    parts = re.split(r"(``[^`]+``|`[^`]+`|\*\*[^*\s][^*]*\*\*|(?<!\S)(?:tests|tinygen|examples)/[\w/]+\.py)", text)
    parts[1::2] = [markup(part) for part in parts[1::2]]
    parts[::2] = [re.sub(r"([\\*`|_])", r"\\\1", part) for part in parts[::2]]
    # An escaped space separates markup from letters beside it, and is not shown.
    return "".join(f"\\ {part}\\ " if i % 2 else part for i, part in enumerate(parts))


def markup(part: str) -> str:
    if part.startswith("**"):
        return part
    return f":file-page:`{part}`" if part.endswith(".py") and "`" not in part else f"``{part.strip('`')}``"


def literal(lines: list[str]) -> list[str]:
    """Return lines as a literal block; their indentation relative to each other is kept."""
    width = min(len(line) - len(line.lstrip()) for line in lines if line)
    return ["::", "", *(f"    {line[width:]}" if line else "" for line in lines), ""]


def section(first: str, rest: list[str]) -> list[str]:
    """Return a section, such as "Args:", as a field."""
    match = SECTION.match(first)
    assert match is not None
    title, text = match[1], match[2] or ""
    if title == "Example":
        return [":Example:", *(f"    {line}" if line else "" for line in literal(rest))]
    items: list[tuple[str, str]] = [("", text)] if text else []
    for line in map(str.strip, rest):
        item = ITEM.match(line) if title == "Args" else None
        if item is not None:
            items.append((f"- ``{item[1]}``: ", item[2]))
        elif items:
            items[-1] = (items[-1][0], f"{items[-1][1]} {line}")
        else:
            items.append(("", line))
    lines = [start + inline(text) for start, text in items]
    return [f":{title}:", *(f"    {line}" for line in lines), ""]


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Yield paragraphs, sections and indented blocks; the last two include the empty lines between their lines."""
    block: list[str] = []
    gap = 0
    for line in map(str.rstrip, lines):
        if not line:
            gap += 1
            continue
        indented = line.startswith(" ")
        joins = bool(block) and (not gap and not SECTION.match(line) and indented == block[0].startswith(" "))
        if indented and block and (block[0].startswith(" ") or SECTION.match(block[0])):
            joins = True
        elif not indented and block and SECTION.match(block[0]):
            joins = not gap and not SECTION.match(line)
        if block and not joins:
            yield block
            block, gap = [], 0
        block += [""] * gap * bool(block) + [line]
        gap = 0
    if block:
        yield block


def convert(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText."""
    result: list[str] = []
    for block in blocks(lines):
        if SECTION.match(block[0]):
            result += section(block[0], block[1:])
        elif block[0].startswith(" "):
            result += literal(block)
        else:
            result += [inline(" ".join(block)), ""]
    return result


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = convert(lines)


def shorten(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Replace types by their aliases; a protocol is not constructed, so it has no arguments."""
    if getattr(thing, "_is_protocol", False):
        return "", result
    for text, alias in ALIASES.items():
        signature = signature and signature.replace(text, alias)
        result = result and result.replace(text, alias)
    return signature, result


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
