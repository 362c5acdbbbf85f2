"""The road of data through the commands, and what a careless user types."""

import inspect
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rkdo_plugin.cli.main import COMMANDS, main
from rkdo_plugin.export.verification.gates import GATES, Gate
from rkdo_plugin.losses.benchmark import _peak_mebibytes
from rkdo_plugin.plugins.host import PluginHost
from rkdo_plugin.recipes.field.inspect import load_run_field
from rkdo_plugin.recipes.field.open import open_field
from rkdo_plugin.recipes.simclr import SimCLR


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A run folder and its export, made by the commands."""
    folder = tmp_path_factory.mktemp("road")
    run, model = str(folder / "run"), str(folder / "encoder.onnx")
    words = "train --loss rkdo --loss.temperature 0.2 --limit 512 --epochs 2"
    assert main([*words.split(), "--workers", "0", "--out", run]) == 0
    assert main(["export", run, model, "--data", "digits"]) == 0
    return folder


def test_a_loss_option_reaches_the_loss_and_the_resolved_config(road):
    config = (road / "run" / "config.yaml").read_text()
    assert "temperature: 0.2" in config
    assert "coupling: 0.5" in config
    assert "loss: rkdo" in config


def test_resuming_needs_no_setting_typed_again(road, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(road / "run", run)
    before = (run / "last.ckpt").read_bytes()
    with pytest.warns(UserWarning, match="finished already"):
        assert main(["train", "--resume", "--workers", "0", "--out", str(run)]) == 0
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
    assert "cannot resume" in error
    assert f"its '{setting}' is" in error


def test_resuming_may_repeat_the_settings(road, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(road / "run", run)
    words = "train --resume --recipe simclr --loss rkdo --loss.temperature 0.2"
    with pytest.warns(UserWarning, match="finished already"):
        assert main([*words.split(), "--workers", "0", "--out", str(run)]) == 0


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
    with pytest.warns(UserWarning, match="finished already"):
        assert main(resume) == 0
    capsys.readouterr()
    for changed in ("--field.field-weight=0.5", "--field=hog", "--field.coupling=1"):
        assert main([*resume, changed]) == 1
        assert "cannot resume" in capsys.readouterr().err


def test_a_field_starts_from_a_file_of_features(tmp_path):
    np.save(tmp_path / "two.npy", np.eye(2)[np.arange(256) % 2])
    words = "train --limit 256 --batch-size 64 --epochs 1 --workers 0 --field"
    run = tmp_path / "run"
    assert main([*words.split(), str(tmp_path / "two.npy"), "--out", str(run)]) == 0
    field = load_run_field(run).field
    assert ((field.ids - torch.arange(256)[:, None]) % 2 == 0).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--field pixel", "named 'pixel', and no such file either; known: one-hot, pi"),
        ("--field short.npy", "features (256, F), one row for each training image"),
        ("--field .", "last.ckpt"),
        ("--field.coupling 0.1", "Expected --field beside --field.coupling"),
        ("--field one-hot --field.coupling 2", "`coupling`"),
        ("--field hog --field.neighbors 256", "`neighbors`"),
        ("--field hog --field.search fast", "`search`"),
    ],
)
def test_a_mistaken_field_leaves_no_run_folder(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.zeros((255, 3)))
    train = "train --limit 256 --batch-size 64 --epochs 1 --workers 0"
    assert main([*train.split(), *words.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rkdo: ")
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["short.npy"]


def test_help_lists_the_options_of_a_field_but_not_what_the_run_decides(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    options = list(inspect.signature(open_field).parameters)
    for option in options[options.index("neighbors") :]:
        assert f"--field.{option} " in out
    for option in ("data", "dim", "epochs", "initialize"):
        assert f"--field.{option} " not in out


@pytest.mark.parametrize("command", ["inspect-field", "inspect_field"])
def test_inspecting_a_field_prints_figures_and_leaves_a_picture(
    command, tmp_path, capsys
):
    run = str(tmp_path / "run")
    words = "train --limit 256 --batch-size 64 --epochs 1 --workers 0 --field hog"
    assert main([*words.split(), "--out", run]) == 0
    capsys.readouterr()
    assert main([command, run]) == 0
    out = capsys.readouterr().out
    assert "field of 256 training images, p_0 from hog" in out
    assert "kNN of the raw p_0 features: 0.9" in out
    assert (tmp_path / "run" / "field.png").is_file()
    picture = str(tmp_path / "few.png")
    options = ["--samples", "3", "--skip-start", "--out", picture]
    assert main([command, run, *options]) == 0
    assert "raw p_0" not in capsys.readouterr().out
    with Image.open(picture) as few, Image.open(f"{run}/field.png") as many:
        assert few.height < many.height


def test_a_failed_export_is_a_status_and_no_file(road, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(GATES, "fp32", Gate(max_abs=0.0))
    output = tmp_path / "encoder.onnx"
    assert main(["export", str(road / "run"), str(output)]) == 1
    assert "parity FAILED" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verify_and_evaluate_read_the_export(road, capsys):
    model, run = str(road / "encoder.onnx"), str(road / "run")
    assert main(["verify", model, "--checkpoint", run, "--data", "digits"]) == 0
    out = capsys.readouterr().out
    assert "parity passed on 360 images" in out and "kNN accuracy lost" in out
    report = json.loads((road / "encoder.report.json").read_text())
    assert report["passed"] and report["images"] == 360
    assert "Verification passed" in (road / "encoder.card.html").read_text()
    scores = []
    for source in (run, f"{run}/last.ckpt"):
        assert main(["evaluate", source]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "1,437 training images, 360 test images" in lines[0]
        scores.append(lines[1].split()[:4])
    assert main(["evaluate", model, "--data", "digits"]) == 0
    scores.append(capsys.readouterr().out.splitlines()[1].split()[:4])
    assert scores[0] == scores[1] == scores[2]


def test_embed_lists_unreadable_images_and_goes_on(road, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    output = tmp_path / "vectors.parquet"
    words = ["embed", str(road / "encoder.onnx"), str(tmp_path), str(output)]
    assert main(words) == 0
    assert "broken.png" in capsys.readouterr().out
    assert pq.read_table(output)["path"].to_pylist() == ["a.png", "b.png"]
    assert main(words) == 1
    assert "vectors.parquet" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_an_existing_export_is_kept_unless_told_otherwise(road, capsys):
    model = road / "encoder.onnx"
    before = model.read_bytes()
    words = ["export", str(road / "run"), str(model)]
    assert main(words) == 1
    assert "encoder.onnx" in capsys.readouterr().err
    assert model.read_bytes() == before
    assert main([*words, "--overwrite"]) == 0


def test_another_runs_export_fails_verification(road, tmp_path, capsys):
    other = str(tmp_path / "other")
    words = "train --limit 512 --epochs 1 --seed 1 --workers 0 --out"
    assert main([*words.split(), other]) == 0
    assert main(["verify", str(road / "encoder.onnx"), "--checkpoint", other]) == 1
    assert "parity FAILED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --loss rkd", "no loss named 'rkd'; known: barlowtwins, clip, "),
        (
            "train --recipe simclear",
            "no recipe named 'simclear'; known: barlowtwins, byol, cluster, dino",
        ),
        ("train --loss rkdo --loss.coupling 3", "`coupling` to be a number in [0, 1]"),
        ("train --data cifar", "no data named 'cifar'"),
        (
            "train --encoder resnet",
            "no encoder named 'resnet'; known: masked-vit, pixels, plane, ",
        ),
        ("train --batch-size 5000", "batch size from 1 to 1437"),
        ("evaluate nowhere.ckpt", "nowhere.ckpt"),
        ("export nowhere.ckpt out.onnx", "nowhere.ckpt"),
        ("embed nowhere.onnx . out.parquet", "nowhere.onnx"),
        ("inspect-field nowhere", "run folder but nowhere has no last.ckpt"),
    ],
)
def test_mistakes_are_one_line_and_a_status(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("rkdo: ")


@pytest.mark.parametrize(
    "words", ["", "trian", "train --epochs many", "train --loss icon --loss.coupling 1"]
)
def test_words_that_make_no_command_are_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as status:
        main(words.split())
    assert status.value.code == 2
    assert "rkdo" in capsys.readouterr().err


def test_an_interrupted_command_says_so_and_returns_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt("step 3 of 9 is saved")

    monkeypatch.setattr("rkdo_plugin.cli.main.COMMANDS", {"plugins": interrupted})
    assert main(["plugins"]) == 130
    assert "interrupted step 3 of 9 is saved" in capsys.readouterr().err


def test_every_command_has_help(tmp_path):
    for name in COMMANDS.keys() - {"plugins"}:
        result = subprocess.run(
            [sys.executable, "-m", "rkdo_plugin.cli", name, "--help"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert result.returncode == 0, result.stderr
        summary = (COMMANDS[name].__doc__ or "").splitlines()[0]
        assert summary.split()[0] in result.stdout


def test_help_says_what_a_flag_does(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "--overwrite Replace an older file" in " ".join(
        capsys.readouterr().out.split()
    )


def test_help_needs_no_torch(tmp_path):
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)


def test_plugins_lists_what_each_contributes(capsys):
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("builtin (rkdo-plugin ")
    assert "loss: barlowtwins, clip, cmc, consistency, cross-entropy, dino, " in out


def test_benchmark_compares_every_loss_with_ntxent(capsys):
    words = "benchmark loss --batch-sizes [16] --dim 4 --repetitions 1"
    assert main(words.split()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["ntxent", "icon", "icon", "rkdo"]
    assert rows[0][3] == "1.00"


def test_benchmark_reports_on_exports_of_photographs(capsys):
    words = "benchmark export --encoders [small-convnet] --image-size 32"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert "small-convnet: parity passed on 43 images" in out


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_that_of_the_pass_and_not_of_the_parent():
    ntxent, rkdo = (_peak_mebibytes(name, 2048, 32) for name in ("ntxent", "rkdo"))
    assert ntxent > 8 * 2048**2 * 4 / 2**20  # several (2B, 2B) matrices of 4 bytes
    assert rkdo < ntxent / 4


@pytest.mark.slow
def test_the_demo_leaves_a_verified_export_and_a_picture(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    for name in ("raw pixels", "untrained encoder", "NT-Xent", "I-Con", "RKDO"):
        assert name in out
    assert "parity passed" in out
    assert "as through PyTorch" in out
    assert Image.open(tmp_path / "demo" / "demo.png").size == (1650, 990)
    assert (tmp_path / "demo" / "encoder.onnx").is_file()


def test_a_recipe_of_a_plugin_needs_neither_types_nor_an_encoder_of_its_own(
    tmp_path, monkeypatch
):
    class Untyped(SimCLR):
        def __init__(self, encoder, loss="ntxent", width=3, **options):
            options.pop("loss_options")
            super().__init__(encoder, loss, **options)
            self.width = width

    factory = PluginHost.factory
    monkeypatch.setattr(
        PluginHost,
        "factory",
        lambda host, kind, name: (
            Untyped if name == "acme" else factory(host, kind, name)
        ),
    )
    words = "train --recipe acme --recipe.width 5 --limit 64 --batch-size 32 --epochs 1"
    out = tmp_path / "run"
    assert main([*words.split(), "--workers", "0", "--out", str(out)]) == 0
    config = (out / "config.yaml").read_text()
    assert "encoder: small-convnet" in config
    assert "width: 5" in config


def test_a_report_that_could_not_be_stored_is_refused_before_the_work(
    road, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("rkdo_plugin.export.verify", None)
    words = ["verify", str(road / "encoder.onnx"), "--out", str(tmp_path / "none")]
    assert main(words) == 1
    assert "output folder" in capsys.readouterr().err


def test_what_describes_a_foreign_encoder_needs_its_checkpoint(road, capsys):
    model = str(road / "encoder.onnx")
    assert main(["verify", model, "--image_size", "28"]) == 1
    assert "--checkpoint beside --image_size" in capsys.readouterr().err


def test_precisions_triton_and_a_graph_that_resizes(road, tmp_path, capsys):
    run, model = str(road / "run"), str(tmp_path / "digits.onnx")
    words = ["export", run, model, "--precision", "int8", "--resize"]
    assert main([*words, "--triton", str(tmp_path / "models")]) == 0
    out = capsys.readouterr().out
    assert "int8 on cpu" in out and "parity passed on 360 images" in out
    assert (tmp_path / "models" / "digits" / "1" / "model.onnx").is_file()
    assert main(["triton", model, str(tmp_path / "models"), "--device", "cpu"]) == 0
    assert "version 2" in capsys.readouterr().out
    compared = ["verify", model, "--data", "digits", "--limit", "360"]
    float32 = str(road / "encoder.onnx")
    out = tmp_path / "reports"
    out.mkdir()
    assert main([*compared, "--checkpoint", float32, "--out", str(out)]) == 0
    assert "against encoder.onnx on cpu" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "digits.card.html",
        "digits.report.json",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--precision fp16 --calibration digits", "no --calibration for precision"),
        ("--precision int8-dynamic", "vision transformer"),
        ("--branch head", "head"),
        ("--any-size --resize", "what size should"),
        ("--image-size 0", "`image_size` to be at least 1 but got 0"),
        ("--signer acme", "no signer named 'acme'; known: none"),
    ],
)
def test_an_export_that_cannot_be(road, words, message, tmp_path, capsys):
    output = tmp_path / "encoder.onnx"
    assert main(["export", str(road / "run"), str(output), *words.split()]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()
