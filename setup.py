"""Make the links of the README absolute in the distributions, so that they work on a package index.

In the repository they are relative, and work in every checkout and fork. The address is `url` in setup.cfg; without it,
nothing changes. Everything else is in setup.cfg.

Checked by: tests/test_readme.py
"""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parent


def absolute(text: str, repository: str) -> str:
    """Return Markdown with relative links replaced by addresses in a repository, such as https://example.org/project."""

    def address(match: re.Match[str]) -> str:
        kind = "raw" if match[1].endswith(".png") else "blob"
        return f"]({repository.rstrip('/')}/{kind}/main/{match[1]})"

    return re.sub(r"\]\((?!\w+:|#)([^)\s]+)\)", address, text)


if __name__ == "__main__":
    from setuptools import setup

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    repository = config["metadata"].get("url", "")
    setup(long_description=absolute(readme, repository) if repository else readme)
