"""The built pages: links resolve, nothing is loaded from the network, formulas are MathML, images have a text."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("sphinx")

import tinygen
from docs._ext.glossary import anchor, entries

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


# Each has a page or a heading, which the table of contents and the search show.
IDEAS = (
    "Pixel RNN", "MADE", "PixelCNN and its blind spot", "Gated PixelCNN", "WaveNet", "One-dimensional flow", "the CDF",
    "Autoregressive flows: MAF and IAF", "Dequantisation", "NICE and RealNVP", "Masks of images", "Glow", "FFJORD",
    "Importance sampling and the variational bound", "Variational autoencoder", "IWAE", "Posterior flows",
    "Generative adversarial network", "Saturation", "Mode coverage", "Inception Score", "FID",
)  # fmt: skip


def test_ideas_of_the_course_have_headings_that_the_search_finds(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    titles = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["alltitles"]
    assert not [idea for idea in IDEAS if not any(idea in title for title in titles)]


def test_terms_of_the_glossary_have_anchors_and_are_linked(site: Path) -> None:
    links = {link for path in pages(site) for link in page(path).links}
    linked = {link.partition("#")[2] for link in links if "glossary.html#" in link}
    assert len(entries()) > 40
    assert not [term for term in entries() if anchor(term) not in page(site / "glossary.html").ids]
    assert not [term for term in entries() if anchor(term) not in linked]


def signatures(site: Path) -> dict[str, str]:
    """Return the HTML of every signature of the API reference. Names of the package `tinygen` have no anchor."""
    html = "".join(path.read_text(encoding="utf-8") for path in sorted((site / "api").glob("*.html")))
    found = re.findall(r'<dt class="sig sig-object py"(?: id="([^"]+)")?>(.*?)</dt>', html, flags=re.DOTALL)
    return {name or f"tinygen.{described(text)}": text for name, text in found}


def described(signature: str) -> str:
    """Return the name of what a signature describes."""
    match = re.search(r'class="sig-name descname"><span class="pre">(\w+)<', signature)
    assert match is not None
    return match[1]


def untyped(signature: str) -> list[str]:
    """Return the parameters of a signature that have no type."""
    parameters = [re.sub("<[^>]+>", "", each) for each in re.findall(r'"sig-param">(.*?)</em>', signature, re.DOTALL)]
    return [each for each in parameters if ":" not in each and each not in "*/"]


def public_names() -> Iterator[tuple[str, object]]:
    """Yield the public names of every package, and what they name."""
    found = [tinygen, *(importlib.import_module(m.name) for m in pkgutil.walk_packages(tinygen.__path__, "tinygen."))]
    for module in found:
        yield from ((f"{module.__name__}.{name}", getattr(module, name)) for name in getattr(module, "__all__", ()))


def test_api_reference_has_every_public_name_with_types_and_a_link_to_its_source(site: Path) -> None:
    shown, names = signatures(site), dict(public_names())
    ids = {each for path in (site / "api").glob("*.html") for each in page(path).ids}
    modules = {name for name, thing in names.items() if inspect.ismodule(thing)}
    assert len(names) > 200
    assert not [name for name in modules if f"module-{name}" not in ids]
    assert not sorted(names.keys() - shown.keys() - modules)
    assert not [name for name in names.keys() & shown.keys() if 'class="source-link' not in shown[name]]
    assert not {name: found for name, signature in shown.items() if (found := untyped(signature))}
    returns = [name for name, thing in names.items() if inspect.isroutine(thing)]
    assert not [name for name in returns if "sig-return" not in shown[name]]


def test_parameters_without_a_type_are_found() -> None:
    typed = '<em class="sig-param"><span>x</span>: int</em><em class="sig-param"><span>*</span></em>'
    assert untyped(typed) == []
    assert untyped(typed + '<em class="sig-param"><span>y</span>=1</em>') == ["y=1"]


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
