"""What the wheel and the sdist hold, and what pyproject.toml declares."""

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from checkout import FOLDERS, PYPROJECT, ROOT, sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Declared although nothing here imports them, with who does.
IMPORTED_FOR_US = {
    "onnxscript": "torch.onnx.export(dynamo=True)",
    "tensorboard": "Lightning's TensorBoardLogger",
}
DEVELOPMENT_EXTRAS = {"docs", "test"}
# Imported only where the extra is there; it may import that extra at the top.
OF_AN_EXTRA = (
    "rkdo_plugin.export.serving.server.",
    "rkdo_plugin.losses.recursion_triton",
)


def requirements(lines: list[str]) -> set[str]:
    """The distributions that these requirements ask for on this platform."""
    parsed = map(Requirement, lines)
    return {
        canonicalize_name(requirement.name)
        for requirement in parsed
        if requirement.marker is None or requirement.marker.evaluate()
    }


def imported(tree: ast.Module, lazy: bool) -> set[str]:
    """Roots of a module's absolute imports: all, or those of its top level alone."""
    nodes = list(ast.walk(tree)) if lazy else tree.body
    roots = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.partition(".")[0])
    return roots - set(sys.stdlib_module_names) - {"rkdo_plugin"}


def distributions(lazy: bool) -> set[str]:
    """The distributions that the package imports."""
    roots: set[str] = set()
    for name, path in sources().items():
        if lazy or not name.startswith(OF_AN_EXTRA):
            roots |= imported(ast.parse(path.read_text()), lazy)
    return {name for root in roots for name in owners(root)}


def owners(root: str) -> set[str]:
    """The distributions of a folder: the declared ones, where strangers share it."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = requirements([*project["dependencies"], *itertools.chain(*extras)])
    found = set(map(canonicalize_name, packages_distributions().get(root, [root])))
    return found & declared or found


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="Python 3.10 does not know which distribution has a folder",
)
def test_every_import_is_declared_and_every_declaration_imported() -> None:
    declared = requirements(PYPROJECT["project"]["dependencies"])
    extras = PYPROJECT["project"]["optional-dependencies"]
    optional = [
        line for name in extras.keys() - DEVELOPMENT_EXTRAS for line in extras[name]
    ]
    assert distributions(lazy=True) - requirements(optional) <= declared
    assert distributions(lazy=False) <= declared, "an extra is imported at top level"
    assert declared - distributions(lazy=True) == set(IMPORTED_FOR_US)


def test_the_mapped_folders_are_imported_by_their_installed_names_only() -> None:
    folders = {folder.name for folder in FOLDERS.values()} - {"rkdo_plugin"}
    for path in [*sources().values(), *(ROOT / "tests").rglob("*.py")]:
        assert not imported(ast.parse(path.read_text()), lazy=True) & folders, path


def test_every_package_folder_is_listed() -> None:
    with_python = {
        name if path.name == "__init__.py" else name.rpartition(".")[0]
        for name, path in sources().items()
    }
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == with_python


def build(project: Path, out: Path, *what: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        [*command, *what, str(project)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist, built from a copy without stale build folders."""
    project = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for folder in FOLDERS.values():
        if folder.parent == ROOT:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, project / folder.name, ignore=ignored)
    return build(project, tmp_path_factory.mktemp("dist"), "--sdist", "--wheel")


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file in the wheel of a folder."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_three_folders_as_one_package(built: Path) -> None:
    version = PYPROJECT["project"]["version"]
    metadata = f"rkdo_plugin-{version}.dist-info"
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = contents(built)
    assert {name for name in found if not name.startswith(metadata)} == expected
    assert "rkdo_plugin/py.typed" in found
    assert found[f"{metadata}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"rkdo = rkdo_plugin.cli.main:main" in found[f"{metadata}/entry_points.txt"]


def test_the_sdist_builds_the_same_wheel_byte_for_byte(
    built: Path, tmp_path: Path
) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Early releases of 3.10 and 3.11 have no filters.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **safe)
    (project,) = tmp_path.iterdir()
    top = {re.sub(r".*\.egg-info", "egg-info", path.name) for path in project.iterdir()}
    assert top == {
        "LICENSE",
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "egg-info",
        "export",
        "pyproject.toml",
        "recipes",
        "rkdo_plugin",
        "setup.cfg",
    }
    (first,) = built.glob("*.whl")
    (again,) = build(project, tmp_path / "again", "--wheel").glob("*.whl")
    assert again.read_bytes() == first.read_bytes()
