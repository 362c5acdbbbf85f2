"""Options that depend on what a run is made of, and how a run records them."""

import shutil
from dataclasses import fields

import pytest
import torch
import yaml
from runs import assert_equal, state

from rkdo_plugin.cli.main import main
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.field.create import FieldSettings


def test_a_loss_option_reaches_the_loss_and_the_resolved_config(road):
    config = (road / "run" / "config.yaml").read_text()
    assert "temperature: 0.2" in config
    assert "coupling: 0.5" in config
    assert "loss: rkdo" in config


def test_resuming_needs_no_setting_typed_again(road, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(road / "run", run)
    before = (run / "last.ckpt").read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", "--workers", "0", "--out", str(run)]) == 0
    assert capsys.readouterr() == (f"finished already: {run}/last.ckpt\n", "")
    assert len((run / "last.ckpt").read_bytes()) == len(before)
    words = ["train", "--resume", "--out", str(run), "--epochs", "3"]
    assert main(words) == 1


@pytest.mark.parametrize(
    ("typed", "setting"),
    [
        ("--loss negative-cosine", "loss"),  # which has no temperature
        ("--recipe byol", "recipe"),
        ("--recipe cluster", "recipe"),  # which has other options
        ("--recipe simclr --recipe.learning-rate 0.1", "recipe_options"),
    ],
)
def test_resuming_with_another_setting_names_it(road, typed, setting, capsys):
    words = ["train", "--resume", "--out", str(road / "run"), *typed.split()]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert (
        f"Expected to resume {road / 'run'} with its own settings: its '{setting}'"
        in error
    )


def test_resuming_may_repeat_the_settings(road, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(road / "run", run)
    words = "train --resume --recipe simclr --loss rkdo --loss.temperature 0.2"
    assert main([*words.split(), "--workers", "0", "--out", str(run)]) == 0
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["simclr", "byol"])
def test_field_options_reach_the_field_and_are_not_typed_again(
    recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = f"train --recipe {recipe} --limit 256 --batch-size 64 --epochs 1"
    options = "--field pixels --field.field-weight 0.75 --field.neighbors=5"
    assert main([*words.split(), "--workers", "0", *options.split()]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith(recipe)
    assert run.name.endswith("-field-pixels-digits-0")
    config = (run / "config.yaml").read_text()
    assert "field: pixels\n" in config
    assert "field_weight: 0.75\n" in config
    callbacks = torch.load(run / "last.ckpt", weights_only=True)["callbacks"]
    (state,) = [saved["field"] for saved in callbacks.values() if "field" in saved]
    assert state["ids"].shape == (256, 5)
    assert state["active_weight"] == 0.75
    resume = ["train", "--resume", "--workers", "0", "--out", str(run)]
    capsys.readouterr()
    assert main(resume) == 0
    assert "finished already" in capsys.readouterr().out
    for changed in ("--field.field-weight=0.5", "--field=hog", "--field.coupling=1"):
        assert main([*resume, changed]) == 1
        assert "Expected to resume" in capsys.readouterr().err


def help_of(words, capsys):
    with pytest.raises(SystemExit) as status:
        main(["train", *words.split(), "--help"])
    assert status.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_name_that_may_be_given(capsys):
    out = " ".join(help_of("", capsys).split())
    for kind in ("recipe", "loss", "encoder", "bank"):
        names = ", ".join(sorted(host().contributions(kind)))
        assert names in out.replace("vicreg- cov", "vicreg-cov")
    assert "--field hog --help shows them, too" in out


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        ("", "", "recipe loss field"),
        ("--loss rkdo", "loss", "recipe field"),
        ("--field=hog", "field", "recipe loss"),
        ("--recipe dino", "recipe loss", "field"),  # a recipe comes with its loss
        ("--recipe byol --field hog", "recipe loss field", ""),
    ],
)
def test_help_shows_the_options_of_what_was_named(words, shown, hidden, capsys):
    out = help_of(words, capsys)
    assert all(f"  --{part}." in out for part in shown.split())
    assert not any(f"  --{part}." in out for part in hidden.split())


def test_help_shows_the_options_that_a_run_was_trained_with(road, capsys):
    out = " ".join(help_of(f"--resume --out {road / 'run'}", capsys).split())
    assert "--loss.coupling COUPLING" in out
    assert "(type: float, default: 0.2)" in out  # the run's temperature
    assert "--field.neighbors" not in out


def test_help_lists_the_options_of_a_field_but_not_what_the_run_decides(capsys):
    out = help_of("--field hog", capsys)
    for option in fields(FieldSettings):
        assert f"--field.{option.name.replace('_', '-')} " in out
    for option in ("data", "dim", "epochs", "initialize"):
        assert f"--field.{option} " not in out


def test_recipe_options_on_the_command_line_are_recorded(tmp_path, capsys):
    words = "train --recipe cluster --recipe.clusters 7 --limit 128 --batch-size 64"
    words += " --epochs 1 --workers 0 --out"
    out = tmp_path / "run"
    assert main([*words.split(), str(out)]) == 0
    assert "recipe_options:\n  clusters: 7" in (out / "config.yaml").read_text()
    assert load_trained(out).recipe.sizes.shape == (7,)
    resume = ["train", "--resume", "--out", str(out), "--workers", "0"]
    assert main([*resume, "--recipe.clusters", "8"]) == 1
    assert "its 'recipe_options' is {'clusters': 7} but got" in capsys.readouterr().err


def test_a_file_of_settings_and_what_is_said_beside_it(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "recipe: byol\nloss: icon\nloss_options: {temperature: 0.3}\nepochs: 1\n"
        "limit: 128\nbatch_size: 64\nworkers: 0\nrecipe_options: {optimizer: sgd}\n"
    )
    words = f"train --config {config} --loss.debias 0.1 --seed 4 --out {tmp_path}/run"
    assert main(words.split()) == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["recipe"] == "byol"
    assert saved["recipe_options"] == {"optimizer": "sgd"}
    assert saved["loss_options"]["temperature"] == 0.3
    assert saved["loss_options"]["debias"] == 0.1
    assert (saved["seed"], saved["limit"]) == (4, 128)
    # A run's own file trains the same again.
    words = f"train --config {tmp_path}/run/config.yaml --out {tmp_path}/again"
    assert main(words.split()) == 0
    assert_equal(state(tmp_path / "again"), state(tmp_path / "run"))
    config.write_text("learning_rte: 0.1\n")
    assert main(f"train --config {config}".split()) == 1
    assert "options of train" in capsys.readouterr().err
    assert main(f"train --config {tmp_path}/none.yaml".split()) == 1
