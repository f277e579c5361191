"""Settings of Sphinx. `python -m docs` builds the pages; docs/writing.md shows how a page is written."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "tinygen"
copyright = "the tinygen authors"
extensions = [
    "myst_nb", "sphinx_design", "sphinx.ext.autodoc",
    "docs._ext.mathml", "docs._ext.sources", "docs._ext.docstrings", "docs._ext.claim_box", "docs._ext.gallery",
    "docs._ext.drawing", "docs._ext.notebooks", "docs._ext.glossary",
]  # fmt: skip
exclude_patterns = ["_build", "_ext", "figures/*.md"]
nitpicky = False  # types of docstrings name third-party classes; links in the pages are always checked

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "docs" / "_build" / "cells")
nb_execution_raise_on_error = True
nb_execution_timeout = 60
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "tinygen"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
