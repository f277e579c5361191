"""Drawings of the engine chapter as inline SVG: a list of (caption, SVG) per drawing.

They are drawn from the library when the pages are built: the values of the graph by its VJPs, the masks from `taps`,
the convolutions by `conv` and `conv_transpose`. Colours are those of the page, so both themes work.

Checked by: tests/docs/test_drawings.py
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from tinygen.autograd import Tensor, conv, conv_transpose, tanh
from tinygen.autograd import taps as tap_sets
from tinygen.autograd.taps import Taps

Frame = tuple[str, str]
CELL = 30  # side of a cell, in pixels


class Drawing:
    """Shapes with style classes: cell, on (computed now), read, kept (stored); see docs/_static/site.css."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height, self.parts = width, height, list[str]()

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "middle") -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, start: Sequence[float], end: Sequence[float], style: str = "") -> None:
        """Draw a line with a tip at its end."""
        tip = np.asarray(end, float)
        along: Any = 8 * (tip - start) / np.linalg.norm(tip - start)
        across = 0.5 * along[::-1] * (-1, 1)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, tip - along + across, tip - along - across))
        self.line(start, tip - 0.7 * along, style)
        self.parts.append(f'<polygon points="{points}" class="{style}"/>')

    def line(self, start: Sequence[float], end: Sequence[float], style: str = "") -> None:
        (a, b), (c, d) = start, end
        self.parts.append(f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" class="{style}"/>')

    def box(self, x: float, y: float, width: float, height: float, style: str = "cell", text: str = "") -> None:
        """Draw a rectangle whose upper left corner is (x, y), with a text in its centre."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{style}" rx="3"/>')
        if text:
            self.text(x + width / 2, y + height / 2 + 5, text, "inverse" if style == "on" else "")

    def svg(self, label: str) -> str:
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" style="max-width: {self.width:g}px"'
        shapes = "".join(self.parts)
        return f'<svg class="drawing" role="img" aria-label="{escape(label)}" {size}>{shapes}</svg>'


def backward() -> list[Frame]:
    """The backward pass on the graph of y = x tanh(x w): one frame per tensor that is visited."""
    x, w = Tensor(2.0), Tensor(0.5)
    a = x * w
    b = tanh(a)
    y = x * b
    tensors = {"x": x, "w": w, "a": a, "b": b, "y": y}
    adjoints: dict[int, Any] = {id(y): Tensor(1.0)}
    frames = [
        (
            "The forward pass computed the values and recorded the edges. The backward pass starts with ȳ = 1.",
            {**adjoints},
            "",
        )
    ]
    for name in ("y", "b", "a"):
        for parent, vjp in tensors[name].edges:
            contribution = vjp(adjoints[id(tensors[name])], tensors[name])
            adjoints[id(parent)] = adjoints[id(parent)] + contribution if id(parent) in adjoints else contribution
        caption = {
            "y": "Visit y = x · b. It contributes ȳ b to x̄, and ȳ x to b̄.",
            "b": "Visit b = tanh a. It contributes b̄ (1 − b²) to ā.",
            "a": "Visit a = x · w. It contributes ā w to x̄, where it is added, and ā x to w̄. All parents are done.",
        }[name]
        frames.append((caption, {**adjoints}, name))
    return [(caption, _graph(tensors, known, visited).svg(caption)) for caption, known, visited in frames]


def _graph(tensors: dict[str, Tensor], adjoints: dict[int, Any], visited: str) -> Drawing:
    places = {"x": (75, 32), "w": (255, 32), "a": (210, 112), "b": (210, 192), "y": (110, 272)}
    at = {id(tensor): places[name] for name, tensor in tensors.items()}
    drawing = Drawing(330, 305)
    for name, tensor in tensors.items():
        for parent, _ in tensor.edges:
            (a, b), (c, d) = at[id(parent)], places[name]
            inside = 24 / (d - b)  # the part of the edge that is inside a box
            start, end = (a + inside * (c - a), b + 24), (c - inside * (c - a), d - 24)
            if name == visited:
                drawing.arrow(end, start, "back")  # the cotangent goes back
            else:
                drawing.arrow(start, end)
    formulas = {"x": "x", "w": "w", "a": "a = x · w", "b": "b = tanh a", "y": "y = x · b"}
    for name, tensor in tensors.items():
        cx, cy = places[name]
        drawing.box(cx - 66, cy - 24, 132, 48, "visited" if name == visited else "cell")
        drawing.text(
            cx, cy - 5, f"{formulas[name]} = {tensor.item():.3g}" if tensor.edges else f"{name} = {tensor.item():g}"
        )
        if id(tensor) in adjoints:
            drawing.text(cx, cy + 15, f"{name}\u0304 = {adjoints[id(tensor)].item():.3g}", "accent")
    return drawing


def masks() -> list[Frame]:
    """The taps of the masks, around the pixel p."""
    named = {
        "square(3): a plain convolution": tap_sets.square(3),
        "causal(3): mask A": tap_sets.causal(3),
        "causal(3, centre=True): mask B": tap_sets.causal(3, centre=True),
        "vertical(3): the rows above": tap_sets.vertical(3),
        "horizontal(3): the row to the left": tap_sets.horizontal(3),
    }
    return [(name, _taps(taps).svg(f"Taps of {name}")) for name, taps in named.items()]


def _taps(taps: Taps) -> Drawing:
    drawing = Drawing(3 * CELL + 4, 3 * CELL + 4)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            style, text = "on" if (dy, dx) in taps else "cell", "p" if dy == dx == 0 else ""
            drawing.box((dx + 1) * CELL + 2, (dy + 1) * CELL + 2, CELL - 3, CELL - 3, style, text)
    return drawing


def dilation() -> list[Frame]:
    """The receptive field of three layers of two taps whose dilations double."""
    steps, dilations = 16, (1, 2, 4, 8)
    drawing = Drawing(steps * CELL + 130, (len(dilations) + 1) * 46)
    seen = {len(dilations): {steps - 1}}
    for layer in range(len(dilations), 0, -1):
        taps = tap_sets.dilated(2, dilations[layer - 1])
        seen[layer - 1] = {t + offset for t in seen[layer] for (offset,) in taps}
        for t in seen[layer]:
            for (offset,) in taps:
                drawing.line(_place(t + offset, layer - 1, len(dilations)), _place(t, layer, len(dilations)))
    for layer in range(len(dilations) + 1):
        name = f"dilation {dilations[layer - 1]}" if layer else "input"
        drawing.text(steps * CELL + 12, _place(0, layer, len(dilations))[1] + 5, name, anchor="start")
        for t in range(steps):
            x, y = _place(t, layer, len(dilations))
            drawing.box(x - 8, y - 8, 16, 16, "on" if t in seen[layer] else "cell")
    caption = (
        f"dilated(2, d) for d = 1, 2, 4, 8: the last output sees {len(seen[0])} inputs through 4 layers of 2 taps each."
    )
    return [(caption, drawing.svg(caption))]


def _place(t: int, layer: int, layers: int) -> tuple[float, float]:
    return t * CELL + 14, (layers - layer) * 46 + 20


def strided() -> list[Frame]:
    """A convolution with stride 2 and its transpose, one output p after another."""
    taps, stride, weights = ((-1,), (0,), (1,)), 2, np.array([1.0, 2.0, 1.0])
    x, w = np.array([1.0, 0, 2, 1, 0, 3]), weights.reshape(3, 1, 1)
    y = conv(x.reshape(1, 6, 1), w, taps, stride).value.ravel()
    frames = []
    for p in range(3):
        reads = ", ".join(
            f"{c:g} · x({stride * p + o})" for c, (o,) in zip(weights, taps, strict=True) if stride * p + o >= 0
        )
        caption = f"conv: y({p}) gathers {reads}."
        drawing = _two_rows(x, [y[q] if q <= p else None for q in range(3)], taps, stride, p, gather=True)
        frames.append((caption, drawing.svg(caption)))
    for p in range(3):
        partial = np.where(np.arange(3) <= p, y, 0).reshape(1, 3, 1)
        back = conv_transpose(partial, w, taps, stride).value.ravel()
        targets = ", ".join(
            f"{c:g} · y({p}) to x({stride * p + o})"
            for c, (o,) in zip(weights, taps, strict=True)
            if stride * p + o >= 0
        )
        caption = f"conv_transpose: y({p}) is scattered. It adds {targets}."
        drawing = _two_rows(back, list(y), taps, stride, p, gather=False)
        frames.append((caption, drawing.svg(caption)))
    return frames


def _two_rows(
    x: Sequence[float] | Any, y: Sequence[float | None], taps: Taps, stride: int, p: int, gather: bool
) -> Drawing:
    wide = 44
    drawing = Drawing(len(x) * wide + 30, 150)
    used = {stride * p + o for (o,) in taps} & set(range(len(x)))
    for q in sorted(used):
        start, end = (q * wide + 46, 40), (stride * p * wide + 46, 104)
        drawing.arrow(*((start, end) if gather else (end, start)), "back")
    for name, row, values, step in (("x", 10, list(x), 1), ("y", 106, list(y), stride)):
        drawing.text(10, row + 20, name)
        for i, value in enumerate(values):
            now = i in used if name == "x" else i == p
            text = "" if value is None else f"{value:g}"
            drawing.box(i * step * wide + 26, row, wide - 4, CELL, "on" if now else "cell", text)
    return drawing


def cache() -> list[Frame]:
    """Which activations a WaveNet of three layers computes and reads at three time steps."""
    dilations, steps, frames = (1, 2, 4), 12, []
    for now in (8, 9, 10):
        drawing = Drawing(steps * CELL + 130, 4 * 40)
        for layer in range(len(dilations) + 1):
            y = (len(dilations) - layer) * 40 + 4
            name = (
                f"output, dilation {dilations[-1]}"
                if layer == len(dilations)
                else f"layer {layer}, dilation {dilations[layer - 1]}"
            )
            drawing.text(steps * CELL + 8, y + 18, name if layer else "input", anchor="start")
            reach = dilations[layer] if layer < len(dilations) else 0  # the next layer reads t and t − reach
            for t in range(steps):
                if t == now:
                    style = "on"
                elif reach and t == now - reach:
                    style = "read"
                elif reach and now - reach < t < now:
                    style = "kept"
                else:
                    style = "faint"
                drawing.box(t * CELL + 2, y, CELL - 4, CELL - 6, style)
        caption = f"t = {now}: each layer computes one activation (filled), and reads a stored one (thick border)."
        frames.append((caption, drawing.svg(caption)))
    return frames


def tile() -> list[Frame]:
    """The operands of one register tile: y += column of x · row of W."""
    drawing, side = Drawing(660, 250), 16
    rows, columns, none = range(2, 6), range(4, 8), range(0)  # of the tile
    operands = [  # size and place; rows and columns of the shaded strip, and of the elements of this step
        ((8, 6), (10, 114), (rows, range(6)), (rows, range(2, 3))),
        ((6, 12), (130, 10), (range(6), columns), (range(2, 3), columns)),
        ((8, 12), (130, 114), (none, none), (rows, columns)),
    ]
    for size, (left, top), strip, step in operands:
        for i, j in np.ndindex(*size):
            style = "on" if i in step[0] and j in step[1] else "kept" if i in strip[0] and j in strip[1] else "cell"
            drawing.box(left + j * side, top + i * side, side - 2, side - 2, style)
    drawing.text(10, 106, "x: pixels", anchor="start")
    drawing.text(330, 24, "W: taps and input channels × output channels", anchor="start")
    drawing.text(330, 128, "y: pixels × output channels", anchor="start")
    caption = (
        "A tile of y stays in registers. In each step, one column of the strip of x and one row of the block of W are "
        "multiplied, and their products are added to the whole tile."
    )
    return [(caption, drawing.svg(caption))]


DRAWINGS = {each.__name__: each for each in (backward, masks, dilation, strided, cache, tile)}
