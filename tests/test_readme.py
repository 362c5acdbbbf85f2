"""The README's Python and the Examples of the docstrings run as they stand."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch
from checkout import ROOT, blocks, readme_blocks, sources

import rkdo_plugin

PUBLIC = {name: getattr(rkdo_plugin, name) for name in rkdo_plugin.__all__}


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in sources():
        module = importlib.import_module(name)
        # What a reader has at hand: the module, torch and the public names.
        names = {**vars(module), **PUBLIC, "torch": torch, "nn": torch.nn}
        found += [test for test in finder.find(module, globs=names) if test.examples]
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_examples_of_docstrings_run(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    report: list[str] = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    result = runner.run(example, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize(
    "block",
    [
        *readme_blocks("python"),
        *blocks("docs/your-own-script.md", "python"),
        *blocks("docs/plugins.md", "python"),
        *blocks("docs/evaluation.md", "python"),
    ],
    ids=lambda _: "block",
)
def test_the_python_of_the_readme_and_the_guides_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_ci_runs_the_command_that_the_readme_gives_for_the_tests() -> None:
    commands = "".join(readme_blocks("console"))
    (command,) = [line[2:] for line in commands.splitlines() if line.endswith("&& tox")]
    assert command in (ROOT / ".ci" / "run").read_text()
