"""The documentation site: built offline, and whole."""

import posixpath
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from checkout import ROOT
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import rkdo_plugin
from rkdo_plugin import export
from rkdo_plugin.plugins.builtin import rkdo_losses, rkdo_recipes

PAGES = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
)
BESIDE = {"index", "contributing", "security", "changelog", "examples", "404"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        for target in (found.get("href"), found.get("src")):
            if target is not None:
                (self.links if tag == "a" else self.loads).append(target)


def built(project: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build a project's site, and fail where anything asks for the network."""

    def refuse(*_: object) -> None:
        raise AssertionError("the build asks for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    build(load_config(str(project / "mkdocs.yml"), site_dir=str(site)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as monkeypatch:
        built(ROOT, folder, monkeypatch)
        yield folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Path below the site -> the page."""
    return {
        path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")
    }


def test_the_site_has_a_page_for_each_file_and_no_other(pages: dict[str, Page]) -> None:
    assert {name.removesuffix(".html") for name in pages} == BESIDE | set(PAGES)


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for target in page.loads:
            assert not urlsplit(target).netloc, (name, target)
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text().replace('"', ""), style


def test_every_link_and_anchor_is_there(site: Path, pages: dict[str, Page]) -> None:
    checked = 0
    for name, page in pages.items():
        for link in page.links + page.loads:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = posixpath.join("/", posixpath.dirname(name), target.path)
            path = posixpath.normpath(path)[1:] if target.path else name
            assert (site / path).is_file(), (name, link)
            if path in pages:
                assert unquote(target.fragment) in pages[path].anchors | {""}, link
            checked += 1
    assert checked > 1000


def test_every_public_name_loss_and_recipe_is_in_the_reference(
    pages: dict[str, Page],
) -> None:
    anchors = set().union(*(page.anchors for page in pages.values()))
    public = {f"rkdo_plugin.{name}" for name in rkdo_plugin.__all__}
    public |= {f"rkdo_plugin.export.{name}" for name in export.__all__}
    for factory in [*rkdo_losses().values(), *rkdo_recipes().values()]:
        module, _, name = str(factory).partition(":")
        # The others are Lightly's and torch's.
        if module.startswith("rkdo_plugin") and name not in rkdo_plugin.__all__:
            public.add(f"{module}.{name}")
    assert public <= anchors


def test_examples_of_docstrings_are_shown_as_code(site: Path) -> None:
    reference = (site / "api" / "losses.html").read_text()
    assert "<blockquote>" not in reference
    assert '<span class="gp">&gt;&gt;&gt; </span>' in reference


@pytest.mark.parametrize("page", PAGES)
def test_the_top_of_a_page_says_what_it_is_good_for(page: str) -> None:
    heading, top = (ROOT / "docs" / f"{page}.md").read_text().split("\n\n")[:2]
    assert heading.startswith("# ") and top.startswith("After this page you can ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](no.md)", "is not found among"),
        ("[x](#no)", "there is no such anchor"),
        ("[x](/index.md)", "absolute link"),
        ("[x](../README)", "unrecognized relative link"),
        ("::: rkdo_plugin.no", "could not be found"),
    ],
)
def test_a_broken_link_fails_the_build(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    settings = yaml.unsafe_load((ROOT / "mkdocs.yml").read_text())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    settings["nav"] = ["index.md"]
    settings["hooks"] = []
    (tmp_path / "mkdocs.yml").write_text(yaml.dump(settings))
    with pytest.raises((Abort, SystemExit)):
        built(tmp_path, tmp_path / "site", monkeypatch)
    assert problem in caplog.text
