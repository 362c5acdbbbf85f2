import pytest
import torch
import yaml
from report_runs import CONFIG, write_run

from rkdo_plugin.recipes.report.runs import read_found_run


def test_a_run_is_what_training_left(short_run):
    """A real run of 2 epochs of 4 steps, and its own checkpoint."""
    run = read_found_run(short_run("simclr"))
    assert run.finished
    assert (run.epochs_done, run.num_samples, run.num_classes) == (2, 256, 10)
    assert (run.seed, run.state, run.remarks) == (0, "finished, 2 epochs", ())
    assert [step for step, _ in run.curves["train_loss"]] == [4, 8]
    text = (run.folder / "metrics.csv").read_text()
    assert all(repr(value)[:12] in text for _, value in run.curves["train_loss"])


def test_values_lie_at_the_step_after_which_they_were_logged(tmp_path):
    run = read_found_run(write_run(tmp_path / "run", knn=(0.5, 0.75)))
    assert run.curves["knn"] == ((10, 0.5), (20, 0.75))
    assert run.curves["train_loss"] == ((10, 4.5), (20, 4.25))


def test_a_run_without_metrics_has_its_settings_alone(tmp_path):
    run = read_found_run(write_run(tmp_path / "run", knn=None))
    assert run.curves == {}
    assert run.config["loss"] == "icon"
    assert run.remarks == ("no metrics.csv: it logged nothing",)


def test_a_run_that_crashed_says_how_far_it_came(tmp_path):
    run = read_found_run(write_run(tmp_path / "late", done=1, epochs=5))
    assert not run.finished
    assert run.state == "not finished: 1 of 5 epochs"
    run = read_found_run(write_run(tmp_path / "early", done=None))
    assert run.state == "not finished: 0 of 2 epochs"
    assert run.remarks == ("no last.ckpt: no epoch was finished",)


def test_values_that_are_not_finite_and_torn_lines_are_left_out(tmp_path):
    folder = write_run(tmp_path / "run")
    with (folder / "metrics.csv").open("a") as file:
        file.write("2,,29,nan\n2,,39,inf\n")
        file.write(f"2,0.8,{10**400},\n2,0.8,-9,\n2,0.8,4")  # the last line is torn
    run = read_found_run(folder)
    assert run.curves["train_loss"][-1] == (20, 4.25)
    assert all(value != 0.8 for _, value in run.curves["knn"])
    assert run.remarks == ("train_loss was not finite at step 30",)
    (folder / "metrics.csv").write_text("epoch,knn\n0,0.5\n")
    with pytest.raises(ValueError, match="to have a column 'step'"):
        read_found_run(folder)
    (folder / "metrics.csv").write_text("epoch,knn,step")
    assert read_found_run(folder).remarks == ("metrics.csv holds no values",)


def test_settings_of_something_else_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": CONFIG["data"]}))
    with pytest.raises(ValueError, match="settings but it lacks epochs, seed"):
        read_found_run(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("epochs", "two"), ("seed", [0])])
def test_settings_of_other_types_are_refused(tmp_path, name, value):
    folder = write_run(tmp_path / "run", **{name: value})
    with pytest.raises(ValueError, match=rf"`{name}` in .* to be int but got"):
        read_found_run(folder)


@pytest.mark.parametrize("loops", [None, [], {"fit_loop": {}}, {"fit_loop": "x"}])
def test_a_checkpoint_that_does_not_say_how_far_it_came(tmp_path, loops):
    folder = write_run(tmp_path / "run")
    checkpoint = torch.load(folder / "last.ckpt") | {"loops": loops}
    torch.save(checkpoint, folder / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt to say how many epochs"):
        read_found_run(folder)


@pytest.mark.parametrize(
    "content", [b"step\n\xff\n", b"step\n" + b"9" * 200_000 + b"\n"]
)
def test_metrics_that_are_no_table(tmp_path, content):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv to be comma-separated values"):
        read_found_run(folder)
