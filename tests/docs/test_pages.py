"""The built pages: links resolve, nothing is loaded from the network, formulas are MathML, images have a text."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "audio": "src"}
RAW = re.compile(r"\\[a-zA-Z]{2,}|\$\$|\$[^$\s]+\$")  # TeX that was not typeset
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What a page loads, its links and anchors, images without a text, formulas, and its text without code blocks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids = set(re.findall(r'\s(?:id|name)="([^"]+)"', html))
        self.silent: list[str] = []
        self.formulas = 0
        self.text = ""
        self.open: list[str] = []
        self.feed(re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL))  # code is most of the text

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag in LOADED and found.get("rel") not in ("next", "prev", "index", "search", "canonical"):
            self.loaded += [address] if (address := found.get(LOADED[tag])) else []
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag == "img" and not (found.get("alt") or "").strip():
            self.silent.append(found.get("src") or "")
        self.formulas += tag == "math"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"code", "script", "style"} & set(self.open):
            self.text += data


@cache
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > 100
    return found


def external(page: Page) -> list[str]:
    """Return the addresses of scripts, styles, images and fonts that are not files of the site."""
    return [address for address in page.loaded if re.match(r"(\w+:)?//", address) and not address.startswith("data:")]


def broken(site: Path, path: Path) -> list[str]:
    """Return the links to files or anchors that do not exist."""
    missing = []
    for link in page(path).links:
        if re.match(r"\w+:", link):
            continue
        address, _, anchor = link.partition("#")
        target = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
        if not target.is_file() or (anchor and target.suffix == ".html" and unquote(anchor) not in page(target).ids):
            missing.append(link)
    return missing


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    assert not {path: found for path in pages(site) if (found := external(page(path)))}
    styles = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert styles
    assert not [path for path, text in styles.items() if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text)]


def test_links_resolve(site: Path) -> None:
    assert not {str(path.relative_to(site)): found for path in pages(site) if (found := broken(site, path))}


def test_images_have_a_text(site: Path) -> None:
    assert not {path: found for path in pages(site) if (found := page(path).silent)}


def test_formulas_are_mathml(site: Path) -> None:
    derivation = page(site / "autoregressive" / "made.html")
    assert derivation.formulas > 30
    raw = {path: re.findall(RAW, page(path).text) for path in pages(site)}
    assert not {path: found for path, found in raw.items() if found}


def test_faults_are_found(tmp_path: Path) -> None:
    html = """<img src="https://example.org/x.png"><script src="//example.org/x.js"></script>
        <p>\\frac $$ $x$ $HOME or $PATH</p>
        <pre>\\frac</pre><a href="nothing.html">a</a><a href="#here">b</a><a href="#there">c</a><p id="here"></p>"""
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    assert external(page(path)) == ["https://example.org/x.png", "//example.org/x.js"]
    assert page(path).silent == ["https://example.org/x.png"]
    assert broken(tmp_path, path) == ["nothing.html", "#there"]
    assert re.findall(RAW, page(path).text) == ["\\frac", "$$", "$x$"]
