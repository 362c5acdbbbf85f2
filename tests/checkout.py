"""What the checkout says about itself: its package folders, modules and README."""

import re
import shlex
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Installed package -> folder, for the three source folders.
FOLDERS = {
    package: ROOT / folder
    for package, folder in PYPROJECT["tool"]["setuptools"]["package-dir"].items()
}

# The pages that people read.
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)


def sources() -> dict[str, Path]:
    """Module name -> file, for every Python file of the three source folders."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts])
            found[name.removesuffix(".__init__")] = path
    return found


def readme_blocks(language: str, heading: str = "") -> list[str]:
    """The fenced blocks of a language, all or those of one `## heading`."""
    return blocks("README.md", language, heading)


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """Likewise of any page of the checkout."""
    text = (ROOT / page).read_text()
    if heading:
        text = re.split(rf"^## {heading}\n", text, flags=re.M)[1]
        text = re.split(r"^## ", text, flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def commands(page: str) -> list[list[str]]:
    """The words of each command in the console blocks of a page of the checkout."""
    found: list[list[str]] = []
    for line in "".join(blocks(page, "console")).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in lexer:
            if word in ("$", "&&"):
                found.append([])
            else:
                found[-1].append(word)
    return found
