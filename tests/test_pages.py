"""The pages: their Python runs, their figures have a source."""

import re
from pathlib import Path

import pytest
from checkout import PAGES, PYPROJECT, ROOT, blocks

# Pages whose Python needs files or a server, and the tests that run it.
ELSEWHERE = {
    "docs/embedding.md": "tests/export/serving/test_parts.py",
    "docs/serving.md": "tests/export/serving/server/test_web.py",
    "docs/vectors.md": "tests/export/vectors/test_neighbours.py",
}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python") and p not in ELSEWHERE]
)
def test_the_python_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom: a block may use what one above it made."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


def test_what_is_said_to_run_elsewhere_does() -> None:
    for page, test in ELSEWHERE.items():
        assert f'blocks("{page}", "python")' in (ROOT / test).read_text(), page


@pytest.mark.parametrize("page", PAGES)
def test_the_scripts_and_extras_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for script in re.findall(r"(?<![\w/])(?:benchmarks|tests)/[\w/]+\.py\b", text):
        assert (ROOT / script).is_file(), script
    extras = set(re.findall(r"(?:rkdo-plugin|\.)\[(\w+)\]", text))
    assert extras <= PYPROJECT["project"]["optional-dependencies"].keys()


def sections(page: Path) -> dict[str, str]:
    """Anchor -> the text below the heading, up to the next heading."""
    parts = re.split(r"^#+ (.+)$", page.read_text(), flags=re.M)[1:]
    anchors = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in parts[::2]]
    return dict(zip(anchors, parts[1::2], strict=True))


def test_figures_that_are_collected_stand_beside_their_command() -> None:
    text = (ROOT / "docs" / "what-it-does.md").read_text()
    rows = re.findall(r"^\| .* \| (.+?) \| \[.+?\]\((.+?)#(.+?)\) \|$", text, re.M)
    assert len(rows) == len(re.findall(r"^\| (helps|nothing|loses|harms)", text, re.M))
    for measured, page, anchor in rows:
        section = sections(ROOT / "docs" / page)[anchor]
        for figure in re.findall(r"[+-]?\d[\d,]*(?:\.\d+)?", measured):
            assert figure in section, (figure, page, anchor)
