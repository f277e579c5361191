"""The drawings of the engine chapter show what the library computes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from docs.drawings import DRAWINGS
from tinygen.autograd import Tensor, grad, tanh


@pytest.mark.parametrize("name", DRAWINGS)
def test_frames_are_valid_and_labelled(name: str) -> None:
    for caption, svg in DRAWINGS[name]():
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert caption in (root.get("aria-label") or "") or name == "masks"
        width, height = map(float, (root.get("viewBox") or "").split()[2:])
        for box in root.iter("rect"):
            x, y, w, h = (float(box.get(key) or "nan") for key in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("text")]


def test_last_frame_of_the_backward_pass_has_the_gradients() -> None:
    x, w = Tensor(2.0), Tensor(0.5)
    gradients = grad(x * tanh(x * w), [x, w])
    frames = [texts(svg) for _, svg in DRAWINGS["backward"]()]
    for name, gradient in zip("xw", gradients, strict=True):
        assert f"{name}\u0304 = {gradient.item():.3g}" in frames[-1]
        assert f"{name}\u0304 = {gradient.item():.3g}" not in frames[-2]  # x̄ is not complete before the last step


def test_scattering_the_last_position_completes_the_transpose() -> None:
    *_, (_, last) = DRAWINGS["strided"]()
    numbers = [float(text) for text in texts(last) if re.fullmatch(r"[\d.]+", text)]
    x, y = [1.0, 0, 2, 1, 0, 3], [2.0, 5.0, 4.0]  # y(0) = 2·1 + 0, y(1) = 0 + 2·2 + 1, y(2) = 1 + 2·0 + 3
    expected = [0.0] * len(x)
    for p, value in enumerate(y):
        for offset, weight in ((-1, 1), (0, 2), (1, 1)):
            if 0 <= 2 * p + offset < len(x):
                expected[2 * p + offset] += weight * value
    assert numbers == expected + y
