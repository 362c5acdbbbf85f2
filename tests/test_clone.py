"""A clone imported from its own folder, as Python started there imports it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import FOLDERS, ROOT, readme_blocks

# As in an environment in which no finder of `pip install -e` knows the package.
NOT_EDITABLE = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
"""
NAMES = """
import pickle
from pathlib import Path
import rkdo_plugin.export, rkdo_plugin.recipes.base.settings as settings
here = Path.cwd()
assert Path(rkdo_plugin.__file__).parent.parent == here
assert Path(rkdo_plugin.export.__file__).parent.parent == here
assert rkdo_plugin.export.__spec__.name == "rkdo_plugin.export"
kind = rkdo_plugin.RecipeSettings
assert kind is settings.RecipeSettings
assert kind.__module__ == "rkdo_plugin.recipes.base.settings"
assert pickle.loads(pickle.dumps(kind)) is kind
files = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
inside = [file for file in files if Path(file).is_relative_to(here)]
assert len(inside) == len(set(inside)), "a module is imported twice"
"""
OTHERS = """
import importlib.util
for name in ("tests", "rkdo_plugin", "benchmarks"):
    import rkdo_plugin
    assert importlib.util.find_spec("rkdo_plugin." + name) is None, name
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, with a folder that is no part of the package."""
    root = tmp_path_factory.mktemp("clone")
    for folder in FOLDERS.values():
        if folder.parent == ROOT:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, root / folder.name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    for other in ("tests", "benchmarks"):
        (root / other).mkdir()
        (root / other / "__init__.py").touch()
    return root


def run(program: str, folder: Path) -> None:
    command = [sys.executable, "-c", NOT_EDITABLE + program]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [NAMES, OTHERS], ids=["parts", "others"])
def test_python_in_a_clone_finds_all_parts_once_and_nothing_else(
    program: str, clone: Path
) -> None:
    run(program, clone)


@pytest.mark.parametrize("block", readme_blocks("python"), ids=lambda _: "block")
def test_the_python_of_the_readme_runs_in_a_clone(block: str, clone: Path) -> None:
    run(block, clone)


def test_an_installation_needs_no_finder(clone: Path, tmp_path: Path) -> None:
    installed = tmp_path / "rkdo_plugin"
    shutil.copytree(clone / "rkdo_plugin", installed)
    shutil.copytree(clone / "recipes", installed / "recipes")
    program = (
        "import rkdo_plugin.recipes\n"
        "assert rkdo_plugin.recipes.__file__.endswith(\n"
        "    'rkdo_plugin/recipes/__init__.py')\n"
        "assert 'CloneFinder' not in repr(sys.meta_path)"
    )
    run(program, tmp_path)
