"""What the checkout says about itself: its package folders, modules and README."""

import re
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
