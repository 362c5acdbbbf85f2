"""Change the code in one place at a time, and list the changes that no test notices.

    pip install mutmut
    python benchmarks/mutants.py [MODULE ...] [--tests TEST ...] [--share 0.05]
        [--least 10] [--seed 0] [--seconds 20] [--kept mutants.jsonl]

Draws the same share of the changes of each module, at least ten; `--share 1` takes all.
The changes are those of mutmut's operators, less those of annotations, decorators and
the words of errors. mutmut itself leaves out properties and tables, and does not know
that export/ is rkdo_plugin.export.

First runs the tests once, to learn which lines each of them runs and how long it takes.
Then a process for each change runs the tests of its statement until one fails: those of
the module's own file first, the fastest first, of so many seconds in all. What runs in
processes that a test starts is left out: nothing is changed there. Prints a table, and
writes each change to a file as a line of JSON. Needs Linux.
"""

import argparse
import contextlib
import gc
import importlib
import importlib.machinery
import json
import linecache
import os
import pickle
import random
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import libcst as cst
import libcst.matchers as m
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]
CORE = (
    *("rkdo_plugin/losses", "rkdo_plugin/supervision", "rkdo_plugin/field"),
    *(f"rkdo_plugin/{name}.py" for name in ("divergences", "factors", "kernels")),
    *("rkdo_plugin/rowwise.py", "export/onnx.py", "export/verification"),
)
TESTS = (
    *(f"tests/{name}" for name in ("losses", "supervision", "field")),
    *(f"tests/test_{name}.py" for name in ("divergences", "kernels", "rowwise")),
    *("tests/test_options.py", "tests/test_swap.py"),
    *("tests/export/verification", "tests/export/test_onnx.py"),
)
ELSEWHERE = ("*_distributed.py", "*_triton.py", "*benchmark.py")  # other processes
QUIET = (
    *("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"),
    *("-p", "no:unraisableexception"),  # it collects garbage, for a second each time
    *(f"--ignore-glob={name}" for name in ELSEWHERE),
)
FIRST = 20  # tests that run before the others are collected
MEMORY = 6 * 2**30  # bytes of address space that a changed program may add
UNCHANGED = m.OneOf(
    *(m.Annotation(), m.Decorator(), m.Raise()),
    m.Assign(targets=[m.AssignTarget(m.Name("__all__"))]),
    *(m.Call(m.Name(name)) for name in ("len", "isinstance")),
    m.Call(m.Attribute(attr=m.Name("warn"))),
)


@dataclass(frozen=True)
class Change:
    """A place of a module, and what may stand there instead.

    `lines` are those of its statement, or None where that runs at import.
    """

    line: int
    lines: range | None
    old: cst.CSTNode
    new: cst.CSTNode

    def __str__(self) -> str:
        old, new = (
            " ".join(cst.Module([]).code_for_node(each).split())
            for each in (self.old, self.new)
        )
        return f"{old}  ->  {new}"


class _Changes(cst.CSTVisitor):
    """Collects the changes of a module."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Change] = []
        self._above: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, UNCHANGED):
            return False
        lines = self._lines(node)
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                self.found += [
                    Change(lines[0], self._statement(lines), node, new)
                    for new in operator(node)
                ]
        self._above.append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._above and self._above[-1] is original_node:
            self._above.pop()

    def _lines(self, node: cst.CSTNode) -> range:
        place = self.get_metadata(PositionProvider, node)
        return range(place.start.line, place.end.line + 1)

    def _statement(self, lines: range) -> range | None:
        for above in reversed(self._above):
            if isinstance(above, cst.Parameters):
                return None
            if isinstance(above, cst.SimpleStatementLine):
                lines = self._lines(above)
            if isinstance(above, cst.FunctionDef):
                return lines
        return None


def changes(source: str) -> tuple[cst.Module, list[Change]]:
    """A module, and all its changes."""
    wrapped, visitor = MetadataWrapper(cst.parse_module(source)), _Changes()
    wrapped.visit(visitor)
    return wrapped.module, visitor.found


@dataclass(frozen=True)
class Record:
    """Seconds of each test, tests of each line of each file, and installed modules."""

    seconds: dict[str, float]
    tests: dict[str, dict[int, list[str]]]
    installed: list[str]

    def of(self, path: Path, lines: range | None, seconds: float) -> list[str]:
        """The tests that a change has to pass, of so many seconds in all."""
        of_line = self.tests[str(path)]
        within = of_line if lines is None else lines
        near = {test for line in within for test in of_line.get(line, ())} - {""}
        # What a module does when it is imported may be read by any test.
        names = near if lines is not None else {*self.seconds}
        own, chosen = f"test_{path.stem}.py", []
        for name in sorted(
            names, key=lambda n: (own not in n, n not in near, self.seconds[n], n)
        ):
            seconds -= self.seconds[name]
            if seconds >= 0 or not chosen:
                chosen.append(name)
        return chosen


class _Recorder:
    """Plugin of pytest: tells coverage which test runs, and how long each takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.seconds: dict[str, float] = {}
        self._measured = measured

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        started = time.perf_counter()
        done = yield
        self.seconds[item.nodeid] = time.perf_counter() - started
        self._measured.switch_context("")
        return done


def record(files: Sequence[Path], tests: Sequence[str]) -> Record | None:
    """Run all tests without a change. None: one of them fails."""
    measured = coverage.Coverage(data_file=None, include=[str(file) for file in files])
    recorder = _Recorder(measured)
    with contextlib.redirect_stdout(sys.stderr):
        measured.start()
        status = pytest.main([*QUIET, *tests], plugins=[recorder])
        measured.stop()
    data = measured.get_data()
    lines = {str(file): data.contexts_by_lineno(str(file)) for file in files}
    return None if status else Record(recorder.seconds, lines, _installed())


def _installed() -> list[str]:
    """Modules that were imported, but for those that the tests test and import."""
    files = {
        name: getattr(of, "__file__", "") or "" for name, of in sys.modules.items()
    }
    ours = f"{ROOT}{os.sep}"
    return [n for n, f in files.items() if "site-packages" in f or ours not in f]


def apart(work: Callable[[], Any], limit: float | None = None) -> Any:
    """What a function returns in a process of its own. None if it does not in time."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.setsid()
            with os.fdopen(writer, "wb") as answer:
                pickle.dump(work(), answer)
        finally:
            os._exit(0)
    os.close(writer)
    content, ends = b"", limit and time.monotonic() + limit
    with os.fdopen(reader, "rb", buffering=0) as answer:
        while True:
            left = ends and max(0, ends - time.monotonic())
            if not select.select([answer], [], [], left)[0]:
                break
            part = answer.read(2**20)
            if not part:
                break
            content += part
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return pickle.loads(content) if content else None


def passes(path: Path, source: str, tests: Sequence[str]) -> bool:
    """Whether tests pass with another source of a module. Only once in a process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    loader = importlib.machinery.SourceFileLoader
    unchanged = loader.get_code

    def changed(self: Any, name: str) -> Any:
        if Path(self.path) == path:
            return compile(source, str(path), "exec")
        return unchanged(self, name)

    loader.get_code = changed
    lines = source.splitlines(keepends=True)
    linecache.cache[str(path)] = (len(source), None, lines, str(path))
    parts = [part for part in (tests[:FIRST], tests[FIRST:]) if part]
    try:
        return all(pytest.main([*QUIET, *part]) == 0 for part in parts)
    except BaseException:  # noticed, whatever it is
        return False


def attack(
    file: Path, drawn: Sequence[Change], module: cst.Module, known: Record, most: float
) -> Iterator[dict[str, Any]]:
    """Make each change, and say whether a test notices it."""
    for change in drawn:
        tests = known.of(file, change.lines, most)
        limit = 10 + 3 * sum(known.seconds[test] for test in tests)
        source = module.deep_replace(change.old, change.new).code
        unnoticed = not tests or apart(
            lambda s=source, t=tests: passes(file, s, t), limit
        )
        yield {
            "file": str(file.relative_to(ROOT)),
            "line": change.line,
            "change": str(change),
            "noticed": not unnoticed,
            "tests": len(tests),
        }


def main(words: Sequence[str] | None = None) -> None:
    """Change each module, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=CORE)
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--least", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kept", type=Path, default=Path("mutants.jsonl"))
    asked = parser.parse_args(words)
    os.chdir(ROOT)
    files = [
        file
        for path in (ROOT / module for module in asked.modules)
        for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))
        if not any(file.match(pattern) for pattern in ELSEWHERE)
    ]
    known = apart(lambda: record(files, asked.tests))
    if known is None:
        raise SystemExit("Expected the tests to pass without a change but one fails")
    for name in known.installed:  # each process has them from here
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()
    print("| module | changes | drawn | noticed |\n|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    with asked.kept.open("w") as kept:
        for file in files:
            name = file.relative_to(ROOT)
            module, found = changes(file.read_text())
            count = min(len(found), max(asked.least, round(asked.share * len(found))))
            drawn = random.Random(f"{asked.seed} {name}").sample(found, count)
            before = len(rows)
            for row in attack(file, drawn, module, known, asked.seconds):
                kept.write(json.dumps(row) + "\n")
                kept.flush()
                rows.append(row)
            noticed = sum(row["noticed"] for row in rows[before:])
            print(f"| {name} | {len(found)} | {count} | {noticed} |", flush=True)
    noticed = sum(row["noticed"] for row in rows)
    low, high = binomtest(noticed, len(rows)).proportion_ci(method="wilson")
    share = f"{noticed / len(rows):.1%}, {low:.1%} to {high:.1%}"
    print(f"\n{noticed} of {len(rows)}: {share}")


if __name__ == "__main__":
    main()
