"""Build the documentation into docs/_build/html, or open it.

python -m docs           # build; a warning is an error
python -m docs --open    # build, then open the first page in a browser
"""

import sys
import webbrowser
from pathlib import Path

from sphinx.cmd.build import build_main

SOURCE = Path(__file__).parent
OUTPUT = SOURCE / "_build" / "html"


def main() -> int:
    options = ["-W", "--keep-going", "-q", "-j", "auto", "-d", str(OUTPUT.parent / "doctrees")]
    failed = build_main([*options, str(SOURCE), str(OUTPUT)])
    page = OUTPUT / "index.html"
    print(f"{'failed' if failed else 'built'}: {page}")
    if not failed and "--open" in sys.argv[1:]:
        webbrowser.open(page.as_uri())
    return failed


if __name__ == "__main__":
    sys.exit(main())
