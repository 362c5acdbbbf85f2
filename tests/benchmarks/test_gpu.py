"""The GPU benchmark runs without a GPU, tiny, and one section's failure is its own."""

import json
import types

import gpu
import pytest
import torch
from gpu_rows import NO_TIME, OUT_OF_MEMORY, TINY, Budget, Clock, Row

CPU = torch.device("cpu")


@pytest.fixture
def no_sections(monkeypatch):
    """A function that puts sections of a test's own in place of all others."""

    def put(**functions):
        def import_module(module):
            name = module.removeprefix("gpu_")
            if functions[name] is None:
                raise ImportError("No module named 'lightly'")
            return types.SimpleNamespace(**{name: functions[name]})

        monkeypatch.setattr(gpu, "SECTIONS", dict.fromkeys(functions, 1))
        monkeypatch.setattr(gpu, "import_module", import_module)

    return put


def read(path):
    found = json.loads(path.read_text())
    return found, [(row["section"], row["what"], row["note"]) for row in found["rows"]]


@pytest.mark.slow
def test_the_dry_run_measures_every_row(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert gpu.main([str(out), "--device", "cpu", "--tiny"]) == 0
    found, _ = read(out)
    assert found["machine"]["torch"] == torch.__version__ and found["failed"] == {}
    rows = found["rows"]
    assert {row["section"] for row in rows} == set(gpu.SECTIONS)
    assert all(row["milliseconds"] > 0 for row in rows)
    for row in rows:
        if row["section"] == "training":
            assert row["rate"] > 0 and 0 <= row["waits"] < 1
        if row["section"] == "export":  # half precision rounds, and no more than that
            allowed = 1e-3 if "bf16" in row["what"] else 1e-5
            assert float(row["note"].removeprefix("1 - cosine ")) <= allowed
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"CPU, a dry run, PyTorch {torch.__version__}"
    assert len(printed) == 2 + 2 + len(rows)
    assert {line.count("|") for line in printed[2:]} == {1 + len(gpu.COLUMNS)}


def test_a_section_that_fails_leaves_the_others_and_what_it_measured(
    no_sections, tmp_path, capsys
):
    def half(clock, sizes, budget):
        yield Row("half", "first", "B = 2", milliseconds=1.0)
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    def whole(clock, sizes, budget):
        yield Row("whole", "all", "B = 2", milliseconds=2.0)

    no_sections(half=half, whole=whole)
    out = tmp_path / "out.json"
    assert gpu.main([str(out), "--device", "cpu"]) == 1
    found, rows = read(out)
    reason = "RuntimeError: CUDA error: unspecified launch failure"
    assert found["failed"] == {"half": reason}
    assert rows == [
        ("half", "first", ""),
        ("half", "the rest", f"failed: {reason}"),
        ("whole", "all", ""),
    ]
    assert f"half failed: {reason}" in capsys.readouterr().err


def test_what_is_not_installed_is_no_failure(no_sections, tmp_path):
    no_sections(losses=None)
    out = tmp_path / "out.json"
    assert gpu.main([str(out), "--device", "cpu"]) == 0
    _, rows = read(out)
    missing = "not installed: No module named 'lightly'"
    assert rows == [("losses", "everything", missing)]


def test_without_a_gpu_its_device_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "cuda_fault", lambda: "there is no driver")
    with pytest.raises(SystemExit, match="2"):
        gpu.main([str(tmp_path / "out.json")])
    said = capsys.readouterr().err
    assert "Expected a GPU with --device cuda but got: there is no driver; --" in said
    assert not list(tmp_path.iterdir())


def test_too_little_memory_is_a_note():
    def call():
        raise torch.OutOfMemoryError("CUDA out of memory")

    row = Clock(CPU, 3).measure(Row("losses", "ntxent", "B = 16384"), call)
    assert (row.milliseconds, row.note) == (None, OUT_OF_MEMORY)


def test_the_median_is_of_the_calls_after_the_first():
    calls = []
    row = Clock(CPU, 5).measure(Row("losses", "icon", "B = 2"), lambda: calls.append(1))
    assert row.milliseconds >= 0 and row.note == ""
    assert len(calls) == 2 + 5
    calls.clear()
    Clock(CPU, 5, seconds=-1.0).measure(row, lambda: calls.append(1))
    assert len(calls) == 2 + 3


@pytest.mark.parametrize("name", ["losses", "field", "training"])
def test_a_section_whose_time_is_over_measures_nothing(name):
    module = __import__(f"gpu_{name}")
    rows = list(getattr(module, name)(Clock(CPU, 1), TINY, Budget(-1)))
    assert rows and {row.note for row in rows} == {NO_TIME}
    assert all(row.milliseconds is None for row in rows)


def test_a_prediction_stands_beside_its_row():
    rows = [
        Row("losses", "icon", "B = 2", 0.5, 12.3, note="x"),
        Row("training", "arm", "small", 10.0, None, 1234.5, 0.25),
    ]
    _, _, _, first, second = gpu.table(rows, {rows[0].key: 0.0123}).split("\n")
    assert first == "| losses | icon | B = 2 | 0.5 | 12 |  |  | 0.012 | x |"
    assert second == "| training | arm | small | 10 |  | 1,234 | 25% |  |  |"
