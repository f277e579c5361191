"""Pages show code by name, and link to it: the directive `source`, a page per source file, and [source] in the API.

    ```{source} tinygen/nn/made_masks.py: made_masks
    ```

includes a function, class, method (`MADE.log_prob`) or assigned name, with a link to its lines. Without a name, it
includes the whole file. A name that does not exist is an error, so a page cannot show code that is gone. The option
`:no-docstring:` omits the docstring. The role {file-page}`tinygen/nn/cache.py` links to the page of a file.

    .. constants:: tinygen.ode

documents the constants and type aliases of a package, which autodoc skips, with the comments beside or above them.

Links of Markdown pages to files of the repository, such as `../tinygen/nn/cache.py`, lead to the page of the file.
"""

import ast
import importlib
import inspect
import textwrap
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from docs._ext.docstrings import inline

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("tinygen", "examples", "tests", "benchmarks")
DOCUMENTS = {"README.md": "index", "examples/README.md": "gallery", "CONTRIBUTING.md": "contributing"}
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@cache
def parsed(path: Path) -> tuple[list[str], ast.Module]:
    """Return the lines of a file and its syntax tree."""
    text = path.read_text(encoding="utf-8")
    return text.splitlines(), ast.parse(text)


def names(statement: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def find(path: Path, name: str) -> Definition:
    """Return the definition of a name, such as `MADE` or `MADE.log_prob`.

    Raises: ValueError if the file does not define it.
    """
    body: list[ast.stmt] = parsed(path)[1].body
    found: ast.stmt | None = None
    for part in name.split("."):
        found = next((statement for statement in body if part in names(statement)), None)
        body = getattr(found, "body", [])
    if not isinstance(found, Definition):
        raise ValueError(f"{path.relative_to(ROOT)}: {name} is not defined there")
    return found


def lines_of(path: Path, name: str, docstring: bool = True) -> tuple[str, int]:
    """Return the source of a definition, with its decorators, and the number of its first line."""
    lines, found = parsed(path)[0], find(path, name)
    first = min([found.lineno, *(each.lineno for each in getattr(found, "decorator_list", []))])
    numbers = set(range(first, (found.end_lineno or first) + 1))
    if not docstring and isinstance(found, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(found) is not None:
        text = found.body[0]
        numbers -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    code = "\n".join(lines[number - 1] for number in sorted(numbers))
    return textwrap.dedent(code), first


def page_of(path: Path) -> str:
    """Return the name of the page that shows a file."""
    return f"source/{path.relative_to(ROOT).with_suffix('').as_posix()}"


def link(app: Sphinx, document: str, path: Path, line: int | None = None) -> str:
    """Return the relative address of a source file, or of one of its lines, from a page."""
    return app.builder.get_relative_uri(document, page_of(path)) + (f"#line-{line}" if line else "")


class FilePage(SphinxRole):
    """A file of the repository, with a link to its page if it exists."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path, text = ROOT / self.text, nodes.literal(text=self.text)
        if not path.is_file():
            return [text], []
        return [nodes.reference("", "", text, refuri=link(self.env.app, self.env.docname, path), internal=True)], []


class Source(SphinxDirective):
    """Include code by name."""

    required_arguments, optional_arguments, final_argument_whitespace = 1, 0, True
    option_spec = {"no-docstring": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        file, _, name = self.arguments[0].partition(":")
        path, name = ROOT / file.strip(), name.strip()
        try:
            code, line = lines_of(path, name, "no-docstring" not in self.options) if name else (path.read_text(), 1)
        except (OSError, ValueError, SyntaxError) as error:
            raise self.error(f"source: expected `file: name`, got {self.arguments[0]!r} ({error})") from error
        self.env.note_dependency(str(path))
        block = nodes.literal_block(code, code, language="python", source=str(path))
        address = link(self.env.app, self.env.docname, path, line if name else None)
        caption = nodes.paragraph(classes=["source-caption"])
        caption += nodes.reference("", "", nodes.literal(text=file.strip()), refuri=address, internal=True)
        caption += nodes.Text(f" {name}" if name else "")
        return [nodes.container("", caption, block, classes=["source"])]


def constant(package: str, name: str) -> tuple[Path, ast.Assign | ast.AnnAssign] | None:
    """Return where a package assigns a name, and the statement; None if it does not."""
    for path in sorted(ROOT.joinpath(*package.split(".")).rglob("*.py")):
        for statement in parsed(path)[1].body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and name in names(statement):
                return path, statement
    return None


def comment_of(path: Path, line: int) -> str:
    """Return the comment at the end of a line of code, or else that above it."""
    lines = parsed(path)[0]
    if "  # " in lines[line - 1]:
        return lines[line - 1].partition("  # ")[2]
    start = line - 1
    while start and lines[start - 1].startswith("# "):
        start -= 1
    return " ".join(text.removeprefix("# ") for text in lines[start : line - 1])


class Constants(SphinxDirective):
    """Document the constants and type aliases among the public names of a package."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        module, lines = importlib.import_module(package), [f".. py:currentmodule:: {package}", ""]
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
                continue
            if (found := constant(package, name)) is None or found[1].value is None:
                raise self.error(f"constants: {package} does not assign {name}")
            path, statement = found
            self.env.note_dependency(str(path))
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.annotation) == "TypeAlias":
                lines += [f".. py:type:: {name}", f"   :canonical: {ast.unparse(found[1].value)}"]
            else:
                lines += [f".. py:data:: {name}", f"   :type: {type(value).__name__}"]
            lines += ["", f"   {inline(comment_of(path, statement.lineno))}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def link_files(app: Sphinx, tree: nodes.document) -> None:
    """Let links to files of the repository lead to their pages, instead of to a download."""
    document = app.env.docname
    included = [node for node in tree.findall(addnodes.pending_xref) if node["reftype"] == "myst"]
    for node in [*tree.findall(addnodes.download_reference), *included]:
        # The links of an included file, such as CONTRIBUTING.md, are relative to the root.
        folder = ROOT if node in included else Path(app.env.doc2path(document)).parent
        path = (folder / node["reftarget"]).resolve()
        if not path.is_file() or not path.is_relative_to(ROOT):
            continue
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and name.startswith(FOLDERS):
            address = link(app, document, path)
        elif name in DOCUMENTS:
            address = app.builder.get_relative_uri(document, DOCUMENTS[name])
        else:
            continue
        node.replace_self(nodes.reference("", "", *node.children, refuri=address, internal=True))


def add_source_links(app: Sphinx, tree: nodes.document) -> None:
    """Add [source] to the functions, classes and methods of the API reference."""
    for signature in tree.findall(addnodes.desc_signature):
        if not signature.get("module"):
            continue
        thing: Any = importlib.import_module(signature["module"])
        try:
            for part in signature["fullname"].split("."):
                # Static, because a property has the lines; functions that tinygen imports on first use are not.
                thing = inspect.getattr_static(thing, part, None) or getattr(thing, part)
            thing = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
            thing = inspect.unwrap(getattr(thing, "py_func", thing))
            path, line = Path(inspect.getsourcefile(thing) or ""), inspect.getsourcelines(thing)[1]
        except (AttributeError, TypeError, OSError):
            if (found := constant(signature["module"], signature["fullname"])) is None:
                continue  # an attribute
            path, line = found[0], found[1].lineno
        if path.is_relative_to(ROOT / "tinygen"):
            app.env.note_dependency(str(path))  # the docstring comes from this file, which the page does not name
            address = link(app, app.env.docname, path, line)
            label = nodes.inline("", "[source]", classes=["viewcode-link"])
            signature += nodes.reference("", "", label, refuri=address, internal=True, classes=["source-link"])


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for every Python file of the repository that changed, with an anchor per line."""
    formatter = HtmlFormatter(linenos="inline", lineanchors="line", anchorlinenos=True)
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        page = Path(app.builder.get_outfilename(page_of(path)))
        if page.exists() and page.stat().st_mtime > path.stat().st_mtime:
            continue
        name = path.relative_to(ROOT).as_posix()
        code = highlight(path.read_text(encoding="utf-8"), PythonLexer(), formatter)
        yield page_of(path), {"title": name, "body": f'<h1 class="file">{name}</h1>\n{code}'}, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("source", Source)
    app.add_directive("constants", Constants)
    app.add_role("file-page", FilePage())
    app.connect("doctree-read", link_files, priority=400)  # before Sphinx collects downloads
    app.connect("doctree-read", add_source_links)
    app.connect("html-collect-pages", source_pages)
    # All pages are read again after a change of these extensions.
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": zlib.crc32(code)}
