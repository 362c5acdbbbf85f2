"""The house: folders and files of a readable size, and imports that go one way."""

import ast
import graphlib
from collections import Counter
from pathlib import Path

import pytest
from checkout import FOLDERS, ROOT, sources

MODULES_A_FOLDER = 15
LINES_A_MODULE = 300

MODULES = {name: path for name, path in sources().items() if path.name != "__main__.py"}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


class Imports(ast.NodeVisitor):
    """What a module imports of this package, lazily too, but not for types alone."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names} & MODULES.keys()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            self.found |= {inside if inside in MODULES else str(node.module)}
        self.found &= MODULES.keys()


def imports() -> dict[str, set[str]]:
    graph = {}
    for name, path in MODULES.items():
        visitor = Imports()
        visitor.visit(ast.parse(path.read_text()))
        graph[name] = visitor.found - {name}
    return graph


def room(module: str) -> str:
    """The folder that a module lies in."""
    return module if module in PACKAGES else module.rpartition(".")[0]


def require_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_module_imports_itself_by_way_of_others() -> None:
    require_no_circle(imports())


def test_no_room_imports_a_room_that_imports_it() -> None:
    rooms: dict[str, set[str]] = {}
    for module, imported in imports().items():
        if module not in PACKAGES:  # their __init__ shows what is inside
            others = {room(other) for other in imported} - {room(module)}
            rooms.setdefault(room(module), set()).update(others)
    require_no_circle(rooms)


def test_the_core_knows_neither_recipes_nor_exports() -> None:
    """Only the command line does, and the built-in plugin names them in strings."""
    for module, imported in imports().items():
        core = module.startswith("rkdo_plugin") and not module.startswith(
            ("rkdo_plugin.recipes", "rkdo_plugin.export", "rkdo_plugin.cli")
        )
        if core:
            above = {"rkdo_plugin.recipes", "rkdo_plugin.export", "rkdo_plugin.cli"}
            assert not {".".join(i.split(".")[:2]) for i in imported} & above, module
        if module.startswith("rkdo_plugin.export"):
            assert not any(i.startswith("rkdo_plugin.recipes") for i in imported)


def test_folders_are_small() -> None:
    counts = Counter(room(module) for module in MODULES.keys() - PACKAGES)
    large = {name: count for name, count in counts.items() if count > MODULES_A_FOLDER}
    assert large == {}


def test_modules_are_short() -> None:
    lengths = {n: len(path.read_text().splitlines()) for n, path in MODULES.items()}
    assert {n: length for n, length in lengths.items() if length > LINES_A_MODULE} == {}


# Tests of what no single module does, and what that is.
ACROSS = {
    "tests/export/runtime/test_telemetry.py": "what onnxruntime sends to its makers",
    "tests/field/test_distributed.py": "one field in two processes",
    "tests/gpu/test_export.py": "exported files on a GPU",
    "tests/gpu/test_field.py": "a field whose embeddings are on a GPU",
    "tests/gpu/test_losses.py": "every criterion on a GPU",
    "tests/gpu/test_serving.py": "TensorRT, and NVIDIA's server",
    "tests/gpu/test_training.py": "a run on a GPU, and on two",
    "tests/gpu/test_views.py": "views of batches on a GPU",
    "tests/losses/test_conformance.py": "the published code's own numbers",
    "tests/losses/test_distributed.py": "one batch in two processes",
    "tests/losses/test_table.py": "all of I-Con's table; docs/i-con-table.md names it",
    "tests/plugins/test_third_party.py": "a plugin of each kind, used by the commands",
    "tests/recipes/test_every_recipe.py": "what holds for every recipe",
    "tests/recipes/test_published.py": "every recipe beside Lightly's example",
    "tests/recipes/training/test_distributed.py": "one run in two processes",
    "tests/recipes/training/test_field_resume.py": "a resumed run and its field",
    "tests/test_examples.py": "the scripts of examples/",
    "tests/test_gpu_suite.py": "the GPU tests where no GPU can be used",
    "tests/test_layout.py": "the folders themselves",
    "tests/test_page_commands.py": "the commands that the pages show",
    "tests/test_pages.py": "the pages, their Python and their figures",
    "tests/test_packaging.py": "the wheel and pyproject.toml",
    "tests/test_readme.py": "the README and the docstrings",
    "tests/test_site.py": "the documentation site",
}


# Tested, but no part of the package.
BESIDE = {"rkdo_plugin.benchmarks": ROOT / "benchmarks"}

TESTS = {
    path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")
}


@pytest.mark.parametrize("test", sorted(TESTS - ACROSS.keys()))
def test_tests_lie_where_the_module_lies_and_have_its_name(test: str) -> None:
    top, *inside = Path(test).relative_to("tests").parts
    package = f"rkdo_plugin.{top}"
    folder = (FOLDERS | BESIDE).get(package, FOLDERS["rkdo_plugin"] / top)
    module = folder.joinpath(*inside)
    assert module.with_name(module.name.removeprefix("test_")).is_file(), test


def test_what_is_said_to_go_across_is_there() -> None:
    assert ACROSS.keys() <= TESTS
