"""What `mkdocs build` adds to docs/: pages that lie beside it, and the source.

The pages are read in the checkout, too. So their links lead to files of the checkout,
such as ../README.md, and become links to pages of the site here.
"""

import ast
import posixpath
import re
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
# File or folder of the checkout -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "examples": "examples.md",
    **{f"examples/{name}": f"examples.md#{name}" for name in EXAMPLES},
}
# The package as it is installed: the folders recipes/ and export/ lie inside it.
PACKAGE = {
    "rkdo_plugin": "rkdo_plugin",
    "recipes": "rkdo_plugin/recipes",
    "export": "rkdo_plugin/export",
}
LINK = re.compile(r"(?<=\]\()[^)\s:#]+")

source = tempfile.TemporaryDirectory()


@event_priority(50)  # before mkdocstrings reads it
def on_config(config: MkDocsConfig) -> None:
    """Give mkdocstrings the package in one tree.

    The section that our docstrings call "Example" has the name that it knows there.
    """
    for folder, inside in PACKAGE.items():
        for path in (ROOT / folder).rglob("*.py"):
            copy = Path(source.name, inside, path.relative_to(ROOT / folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text()
            copy.write_text(re.sub(r"^( +)Example:$", r"\1Examples:", text, flags=re.M))
    python = config.plugins["mkdocstrings"].config.handlers["python"]
    python["paths"] = [source.name]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie beside docs/."""
    for path, page in PAGES.items():
        if path.endswith(".md"):
            text = (ROOT / path).read_text()
        elif path == "examples":
            text = examples()
        else:
            continue
        files.append(File.generated(config, page, content=text))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links to files of the checkout into links to the site's pages."""
    own = page.file.src_uri
    origin = next((path for path, name in PAGES.items() if name == own), f"docs/{own}")

    def resolved(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link[0]))
        if path in PAGES:
            return posixpath.relpath(PAGES[path], posixpath.dirname(own) or ".")
        inside = path.removeprefix("docs/")
        if inside != path and (ROOT / path).exists():
            return posixpath.relpath(inside, posixpath.dirname(own) or ".")
        return link[0]

    return LINK.sub(resolved, markdown)


def examples() -> str:
    """The scripts of examples/ as a page."""
    page = [
        "# Example scripts\n",
        "After this page you can start from a whole script, and change what differs in "
        "yours. The scripts lie in the folder `examples/`. The tests run them.",
    ]
    for name in EXAMPLES:
        code = (ROOT / "examples" / name).read_text()
        summary = (ast.get_docstring(ast.parse(code)) or "").partition("\n")[0]
        page.append(f"## {name} {{ #{name} }}\n\n{summary}\n\n```python\n{code}```\n")
    return "\n".join(page)
