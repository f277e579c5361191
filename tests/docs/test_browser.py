"""The pages in Chromium: no errors, no page that scrolls sideways, visible formulas, search and keyboard navigation.

Skipped if playwright or Chromium (`apt-get install chromium`) is not installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

# A formula has no area if the browser does not typeset it.
HIDDEN_FORMULAS = """() => [...document.querySelectorAll("math")].filter(each => {
    const box = each.getBoundingClientRect();
    return box.height < 5 || box.width < 3;  // a small z is 7 pixels high
}).map(each => each.outerHTML)"""
WIDTH = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Text whose contrast to the page is below 4.5, the limit of the Web Content Accessibility Guidelines.
UNREADABLE = """() => {
    const linear = value => value <= 0.04 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(value => linear(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = luminance(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll("article p, article math, .verdict")].filter(each => {
        const text = luminance(getComputedStyle(each).color);
        return (Math.max(text, background) + 0.05) / (Math.min(text, background) + 0.05) < 4.5;
    }).map(each => each.outerHTML);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def documents(site: Path) -> list[Path]:
    """Return the pages that are written, one source page, and the search."""
    found = [path for path in sorted(site.rglob("*.html")) if "source" not in path.relative_to(site).parts]
    return [*found, site / "source" / "tinygen" / "autograd" / "backward.html"]


@pytest.mark.parametrize(("theme", "widths"), [("light", (390, 1024, 1440)), ("dark", (390,))], ids=["light", "dark"])
def test_pages_load_without_errors_and_fit_the_screen(
    site: Path, browser: Any, theme: str, widths: tuple[int, ...]
) -> None:
    faults = []
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    page.on("console", lambda message: faults.append((page.url, message.text)) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append((page.url, str(error))))
    page.on("request", lambda sent: faults.append((page.url, sent.url)) if sent.url.startswith("http") else None)
    for path in documents(site):
        page.goto(path.as_uri())
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(WIDTH) > 0:
                faults.append((path.name, f"is {page.evaluate(WIDTH)} pixels wider than {width}"))
        faults += [(path.name, found) for found in page.evaluate(HIDDEN_FORMULAS)]
        faults += [(path.name, found) for found in page.evaluate(UNREADABLE)]
    context.close()
    assert not faults


def test_search_for_log_det_finds_the_coupling(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.fill("input[name=q]", "log_det")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a:has-text('bijections')")  # results are shown one after another
    page.goto((site / "search.html").as_uri() + "?q=AffineCoupling")
    page.wait_for_selector("#search-results li a")
    page.click("#search-results li a")
    assert "Coupling" in page.inner_text("article")
    page.close()


def test_keyboard_reaches_content_and_follows_links(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to content"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        if reached[-1] == "Flows":
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/flows/index.html")
    page.close()


def test_faults_of_a_page_are_found(browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_content("""<body style="background: white"><div style="width: 500px">wide</div>
        <math style="display: none"><mi>x</mi></math><article><p style="color: #ddd">faint</p></article>""")
    assert page.evaluate(WIDTH) > 0
    assert len(page.evaluate(HIDDEN_FORMULAS)) == 1
    assert len(page.evaluate(UNREADABLE)) == 1
    page.close()
