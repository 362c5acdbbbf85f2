"""Metrics go on after a run that was killed."""

from rkdo_plugin.recipes.training.logs import open_loggers


def test_a_line_that_a_killed_process_began_is_logged_again(tmp_path):
    text = "epoch,step,train_loss\n0,9,4.5\n0,19,4.25\n"
    for torn in ("0,2", "0", "0,,4.1\n", "0,19,4.2,7\n", "0\n"):
        (tmp_path / "metrics.csv").write_text(text + torn)
        open_loggers(tmp_path, steps_done=20)
        kept = (tmp_path / "metrics.csv").read_text().splitlines()
        assert kept == text.splitlines(), torn
