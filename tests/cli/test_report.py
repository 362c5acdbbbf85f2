import pytest
from report_runs import write_run

from rkdo_plugin.cli.main import main

pytest.importorskip("vl_convert")


def test_a_report_is_written_and_not_over_another(tmp_path, capsys):
    run, out = str(write_run(tmp_path / "run")), str(tmp_path / "page.html")
    words = ["report", run, "--points", "0", "--out", out]
    assert main(words) == 0
    assert capsys.readouterr().out == f"report: {out}\n"
    assert main(words) == 1
    assert "pass --overwrite to replace it" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_runs_of_different_data_leave_no_page(tmp_path, capsys):
    runs = [str(write_run(tmp_path / data, data=data)) for data in ("digits", "stl10")]
    out = tmp_path / "page.html"
    assert main(["report", *runs, "--out", str(out)]) == 1
    assert "figures of different images do not compare" in capsys.readouterr().err
    assert not out.exists()
