"""Plots: exact pixels, plotted values, labels without overlap, and no change to Matplotlib's global state."""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from tinygen import plot


def rendered(figure: Any) -> NDArray[np.uint8]:
    """Return the figure's screen pixels (H, W, 3), from top to bottom."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_grid_draws_every_pixel_at_its_position() -> None:
    images = np.random.default_rng(0).integers(0, 17, (5, 8, 6, 1))
    screen = rendered(plot.sample_grid(images, levels=17, columns=3))
    zoom, gap, margin = 10, 6, 20  # zoom is round(84 / 8)
    height, width = 2 * (8 * zoom + gap) - gap, 3 * (6 * zoom + gap) - gap
    # The conversion of inches to pixels may truncate the top margin by one.
    assert screen.shape[0] - height - 2 * margin in (-1, 0)
    canvas = screen[screen.shape[0] - margin - height : screen.shape[0] - margin, margin : margin + width]
    for i, image in enumerate(images[..., 0]):
        top, left = i // 3 * (8 * zoom + gap), i % 3 * (6 * zoom + gap)
        tile = canvas[top : top + 8 * zoom, left : left + 6 * zoom]
        grey = np.kron(image / 16 * 255, np.ones((zoom, zoom)))[..., None]
        np.testing.assert_allclose(tile, np.broadcast_to(grey, tile.shape), atol=1)  # greys are rounded to bytes
    assert (canvas[8 * zoom : 8 * zoom + gap] == 255).all(), "the gaps are white"
    assert (canvas[8 * zoom + gap :, 2 * (6 * zoom + gap) :] == 255).all(), "there is no sixth image"


def test_grid_preserves_colours() -> None:
    screen = rendered(plot.sample_grid(np.eye(3).reshape(3, 1, 1, 3), columns=3))
    colours = {tuple(colour) for colour in screen.reshape(-1, 3).tolist()}
    assert colours == {(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)}


def test_labels_and_title_are_inside_the_figure_and_outside_the_images() -> None:
    images = np.zeros((6, 4, 3))
    figure = plot.sample_grid(images, row_labels=["data", "a rather long name"], title="a title wider than the grid is")
    screen = rendered(figure)
    black = (screen == 0).all(axis=2)
    rows, columns = black.any(axis=1).nonzero()[0], black.any(axis=0).nonzero()[0]
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= screen.shape[1]
        assert box.y1 <= screen.shape[0]
        assert box.x1 < columns[0] or screen.shape[0] - box.y0 < rows[0]
    row_height, gap = 4 * 21, 6  # in screen pixels
    for row, label in enumerate(figure.texts[:2]):
        middle = screen.shape[0] - label.get_window_extent().get_points()[:, 1].mean()
        expected = rows[0] + row * (row_height + gap) + row_height / 2
        assert middle == pytest.approx(expected, abs=1)  # text is placed on whole pixels


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 3)), {}, r"images: expected \(N, H, W\).*got shape \(2, 3\)"),
        (np.zeros((2, 3, 3, 2)), {}, "images: expected .*got shape"),
        (np.zeros((0, 3, 3)), {}, "images: expected .*got shape"),
        (np.full((1, 3, 3), 2), {}, r"within 0 … 1 for levels=2, got 2 … 2"),
        (np.full((1, 3, 3), -1), {"levels": 17}, r"within 0 … 16"),
        (np.full((1, 3, 3), np.nan), {}, "got nan"),
        (np.zeros((1, 3, 3)), {"levels": 1}, "levels: expected at least 2, got 1"),
        (np.zeros((1, 3, 3)), {"columns": 0}, "columns: expected at least 1, got 0"),
        (np.zeros((4, 3, 3)), {"columns": 2, "row_labels": ["one"]}, "each of 2 rows, got 1"),
    ],
)
def test_grid_rejects_invalid_arguments(images: NDArray[np.float64], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.sample_grid(images, **options)


HISTORY: dict[str, list[float]] = {
    "step": [0, 10, 20, 30],
    "training": [4.0, 3.0, 2.0, 1.9],
    "validation": [4.1, np.nan, 2.2, np.nan],
}


def test_curves_plot_recorded_values_and_baselines() -> None:
    figure = plot.curves(HISTORY, x="step", ylabel="loss (nats)", baselines={"entropy": 1.5}, title="A run")
    (axes,) = figure.axes
    training, validation, baseline = axes.lines
    np.testing.assert_array_equal(training.get_xydata(), [[0, 4], [10, 3], [20, 2], [30, 1.9]])
    np.testing.assert_array_equal(validation.get_xydata(), [[0, 4.1], [20, 2.2]])
    assert baseline.get_ydata() == [1.5, 1.5]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("step", "loss (nats)", "A run")
    assert {t.get_text(): t.get_color() for t in axes.texts} == {
        "training": training.get_color(),
        "validation": validation.get_color(),
        "entropy": baseline.get_color(),
    }


def test_curves_have_the_given_limits() -> None:
    assert plot.curves(HISTORY, x="step", ylabel="loss (nats)", ylim=(1.0, 3.5)).axes[0].get_ylim() == (1.0, 3.5)


@pytest.mark.parametrize(("last", "whole"), [(4, True), (2.5, False)])
def test_ticks_of_curves_are_not_between_steps(last: float, whole: bool) -> None:
    axes = plot.curves({"x": [1, 2, last], "loss": [3, 2, 1]}, x="x", ylabel="loss (nats)").axes[0]
    assert all(tick.is_integer() for tick in axes.get_xticks().tolist()) == whole


def test_labels_of_curves_are_in_order_without_overlap() -> None:
    runs = {f"run {i}": [5, 1 + i / 1000] for i in range(6)}
    history: dict[str, list[float]] = {"step": [0, 1], **runs, "far": [5, 4]}
    figure = plot.curves(history, x="step", ylabel="loss (nats)")
    screen = rendered(figure)
    texts = sorted(figure.axes[0].texts, key=lambda text: text.get_position()[1])
    assert [text.get_text() for text in texts] == [*(f"run {i}" for i in range(6)), "far"]
    boxes = [text.get_window_extent() for text in texts]
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    assert all(box.x1 <= screen.shape[1] and box.y0 >= 0 for box in boxes)
    # A label without neighbours is at the height of its value.
    ylim = figure.axes[0].get_ylim()
    assert texts[-1].get_position()[1] == pytest.approx((4 - ylim[0]) / (ylim[1] - ylim[0]))


def test_curves_of_zero_or_one_record_can_be_drawn() -> None:
    for values in ([], [2.0], [np.nan]):
        rendered(plot.curves({"step": range(len(values)), "loss": values}, x="step", ylabel="nats", ylim=(0, 3)))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"loss": [1.0]}, "a column x='step' and another, got 'loss'"),
        ({"step": [1.0]}, "a column x='step' and another, got 'step'"),
        ({"step": [0, 1], "loss": [1.0]}, r"history\['loss'\]: expected one number for each of step"),
    ],
)
def test_curves_rejects_invalid_histories(history: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.curves(history, x="step", ylabel="nats")


def quadrant(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an unnormalised log-density: 1 in the upper left quadrant, −∞ elsewhere."""
    return np.where((x[:, 0] < 0) & (x[:, 1] > 0), 1.0, -np.inf)


POINTS = np.array([[0.5, 0.5], [0.5, 1.5], [-0.5, 1.5], [1.5, 0.0]])  # the last is outside


def test_density_has_the_right_orientation_and_scale() -> None:
    figure = plot.density(quadrant, (-1, 1, -2, 2), samples=POINTS, resolution=4)
    left, right = figure.axes[:2]
    values = np.asarray(left.images[0].get_array())  # row 0 is at the bottom, since origin="lower"
    assert left.images[0].origin == "lower"
    assert tuple(left.images[0].get_extent()) == (-1, 1, -2, 2)
    np.testing.assert_allclose(values, np.kron([[0, 0], [np.e, 0]], np.ones((2, 2))))
    np.testing.assert_array_equal(right.lines[0].get_xydata(), POINTS)
    assert right.get_title(loc="left") == "4 samples, 1 of them outside"
    assert right.get_xlim() == left.get_xlim() == (-1, 1)
    assert right.get_ylim() == left.get_ylim() == (-2, 2)
    screen = rendered(figure)
    at = left.transData.transform([(-0.5, 1), (-0.5, -1), (0.5, 1)]).round().astype(int)
    dark, *light = (int(screen[screen.shape[0] - y, x].sum()) for x, y in at)
    assert dark < 200 < 700 < min(light)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": (1, -1, 0, 1)}, "box: expected"),
        ({"resolution": 0}, "resolution: expected at least 1, got 0"),
        ({"samples": [1.0, 2.0]}, r"samples: expected \(m, 2\), got \(2,\)"),
        ({"log_prob": lambda x: x}, r"log_prob: expected .* got"),
    ],
)
def test_density_rejects_invalid_arguments(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"log_prob": quadrant, "box": (-1, 1, -1, 1), "resolution": 3}
    with pytest.raises(ValueError, match=message):
        plot.density(**arguments | options)


def test_save_creates_folders_and_is_reproducible(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "a.png" for folder in ("deep/er", "other")]
    for path in paths:
        assert plot.save(plot.sample_grid(np.zeros((2, 2, 2)), title="t"), str(path)) == path
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert [p.name for p in paths[0].parent.iterdir()] == ["a.png"]


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = plot.sample_grid(np.zeros((1, 2, 2)))

    def full_disk(number: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        plot.save(figure, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"old"


def test_save_rejects_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path: expected .*\.png, got"):
        plot.save(plot.sample_grid(np.zeros((1, 2, 2))), tmp_path / "a.pdf")


def test_global_state_of_matplotlib_is_unchanged(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    had_pyplot = "matplotlib.pyplot" in sys.modules
    plot.save(plot.curves(HISTORY, x="step", ylabel="loss (nats)"), tmp_path / "curves.png")
    plot.save(plot.density(quadrant, (-1, 1, -1, 1), resolution=3), tmp_path / "density.png")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_missing_matplotlib_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'needs matplotlib.figure; install it with: pip install -e "\.\[examples\]"'):
        plot.sample_grid(np.zeros((1, 2, 2)))


def test_a_baseline_that_is_nan_is_skipped() -> None:
    history = {"step": np.array([1.0, 2.0]), "a": np.array([1.0, 2.0])}
    with_nan = plot.curves(history, x="step", ylabel="y", baselines={"z": float("nan")})
    np.testing.assert_array_equal(rendered(with_nan), rendered(plot.curves(history, x="step", ylabel="y")))


@pytest.mark.parametrize("kind", ["points", "curves", "density"])
def test_saving_a_figure_again_writes_the_same_bytes(kind: str, tmp_path: Path) -> None:
    figure = {
        "points": lambda: plot.points(np.ones((1, 2))),
        "curves": lambda: plot.curves({"step": [1, 2], "a": [1.0, 2.0]}, x="step", ylabel="y", title="title"),
        "density": lambda: plot.density(lambda x: -(x**2).sum(1), (-1, 1, -1, 1), samples=np.zeros((3, 2))),
    }[kind]()
    first, second = (plot.save(figure, tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert first == second
