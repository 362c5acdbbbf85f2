import json
from importlib.metadata import version

import pytest

from rkdo_plugin.recipes.comparison import results
from rkdo_plugin.recipes.comparison.results import (
    RUN_KEY,
    Planned,
    Results,
    code_version,
)
from rkdo_plugin.recipes.training.settings import RunSettings

SETTINGS = RunSettings(loss="icon", loss_options={"temperature": 0.2})
RUN, OTHER = Planned("result", SETTINGS).row, Planned("tuning", SETTINGS).row
OUTCOME = {"score": 0.5, "steps": 3, "seconds": 0.1}


def opened(folder, code="1", data="a", restart=False):
    shared = {"code": code, "data": data}
    return Results(folder, shared, RUN_KEY, restart=restart)


def test_finished_runs_are_found_again_with_all_that_they_are(tmp_path):
    opened(tmp_path / "new").add(RUN, OUTCOME)
    again = opened(tmp_path / "new")
    assert again.finished(RUN) and not again.finished(OTHER)
    settings = SETTINGS.as_config()
    expected = {"purpose": "result", "settings": settings, "code": "1", "data": "a"}
    assert again[RUN] == expected | OUTCOME
    seed = Planned("result", RunSettings(loss="icon", seed=1)).row
    assert not again.finished(seed)


def test_a_run_that_failed_is_not_finished_until_it_is(tmp_path):
    opened(tmp_path).add(RUN, {"error": "ValueError: no"})
    again = opened(tmp_path)
    assert not again.finished(RUN) and again[RUN]["error"] == "ValueError: no"
    again.add(RUN, OUTCOME)
    assert opened(tmp_path).finished(RUN)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"code": "2"}, "runs of code 2 in .*runs.jsonl but got those of 1"),
        ({"data": "b"}, "runs of data b in .*but got those of a"),
    ],
)
def test_runs_of_other_code_or_data_are_refused(tmp_path, other, message):
    opened(tmp_path).add(RUN, OUTCOME)
    with pytest.raises(ValueError, match=f"{message}.*begin anew with `restart`"):
        opened(tmp_path, **other)
    assert opened(tmp_path).finished(RUN)
    assert not opened(tmp_path, **other, restart=True).finished(RUN)
    assert not (tmp_path / "runs.jsonl").exists()


def test_a_line_that_a_killed_process_began_is_dropped(tmp_path):
    opened(tmp_path).add(RUN, OUTCOME)
    file = tmp_path / "runs.jsonl"
    line = file.read_text()
    file.write_text(line + line[: len(line) // 2])
    opened(tmp_path).add(OTHER, OUTCOME)
    assert len([json.loads(each) for each in file.read_text().splitlines()]) == 2
    assert opened(tmp_path).finished(RUN) and opened(tmp_path).finished(OTHER)


def test_a_damaged_line_is_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"score"\n')
    with pytest.raises(ValueError, match=r"line 1 of .*runs.jsonl .* it is damaged"):
        opened(tmp_path)


def test_the_code_version_changes_with_a_source_file(tmp_path, monkeypatch):
    assert f"torch {version('torch')}" in code_version()
    module = tmp_path / "package" / "module.py"
    module.parent.mkdir()
    module.write_text("a = 1\n")
    package = type("Package", (), {"__path__": [str(module.parent)]})
    monkeypatch.setattr(results, "import_module", lambda name: package)
    before = code_version()
    assert before == code_version()
    module.write_text("a = 2\n")
    assert code_version() != before


def test_a_folder_of_something_else_is_refused_and_stays(tmp_path):
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(ValueError, match=r"`out` to be a new folder.* something else"):
        opened(tmp_path, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("line", [b'{"purpose": "\xff"}', b"[" * 100_000])
def test_a_line_of_other_bytes_is_named(tmp_path, line):
    opened(tmp_path).add(RUN, OUTCOME)
    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ValueError, match=r"line 2 of .*runs\.jsonl .* damaged"):
        opened(tmp_path)
