import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from photographs import crops
from PIL import Image
from published_weights import lively, publish_torchvision
from runs import assert_equal, train, weights
from torch import nn

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.recipes.field.inspect import load_run_field
from rkdo_plugin.recipes.training import demo


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
        ("--field pixel", "but got 'pixel', and there is no such file"),
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


def test_ctrl_c_in_the_demo_says_how_to_begin_anew(tmp_path, capsys, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt("`resume` continues it")  # no option of the demo

    monkeypatch.setattr(demo, "train", stopped)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 130
    error = capsys.readouterr().err
    assert "while it trained ntxent" in error
    assert "another --out" in error and "resume" not in error


class FirstEmbedding(pl.Callback):
    """Features of images before the first step."""

    def __init__(self, images):
        self.images = images

    def on_train_start(self, trainer, pl_module):
        with torch.no_grad():
            self.features = pl_module.backbone.eval()(self.images)
        pl_module.train()


def test_a_torchvision_resnet_is_continued_exported_and_verified(tmp_path, capsys):
    resnet = lively(torchvision.models.resnet18())
    torch.save(resnet.state_dict(), tmp_path / "imagenet.pth")
    for number, pixels in enumerate(crops(20, 32)):
        folder = tmp_path / "photographs" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    words = f"train --encoder resnet18 --weights {tmp_path}/imagenet.pth --workers 0"
    words += f" --data {tmp_path}/photographs --batch-size 8 --epochs 1 --out"
    run = tmp_path / "run"
    assert main([*words.split(), str(run)]) == 0

    first = FirstEmbedding(torch.rand(4, 3, 32, 32))
    train(
        out=tmp_path / "watched",
        encoder="resnet18",
        weights=str(tmp_path / "imagenet.pth"),
        data=str(tmp_path / "photographs"),
        batch_size=8,
        epochs=1,
        workers=0,
        callbacks=[first],
    )
    assert_equal(weights(run), weights(tmp_path / "watched"))
    resnet.fc = nn.Identity()
    with torch.no_grad():
        assert torch.equal(first.features, resnet(first.images))

    (tmp_path / "imagenet.pth").unlink()
    assert main(["train", "--resume", "--workers", "0", "--out", str(run)]) == 0
    assert "finished already" in capsys.readouterr().out
    model = str(tmp_path / "encoder.onnx")
    assert main(["evaluate", str(run)]) == 0
    assert main(["export", str(run), model]) == 0
    assert main(["verify", model, "--checkpoint", str(run)]) == 0
    assert "parity passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--weights none.pth", "Expected a checkpoint at none.pth"),
        ("--weights . ", "Expected a checkpoint at last.ckpt"),
        ("--weights none.pth --pretrained", "--weights or --pretrained but got both"),
        ("--pretrained", "resnet18, resnet50, timm:NAME"),
        ("--pretrained --encoder resnet18", "3 channels"),  # digits are grey
        ("--branch left", "Expected --weights beside --branch"),
    ],
)
def test_a_mistaken_start_is_one_line_and_leaves_no_run_folder(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--workers", "0", *words.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rkdo: ")
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_field_from_a_pretrained_network_names_its_run_folder(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    publish_torchvision(tmp_path / "cache", monkeypatch, "resnet18")
    words = "train --limit 64 --batch-size 32 --epochs 1 --workers 0 --field"
    assert main([*words.split(), "torchvision:resnet18"]) == 0
    name = "simclr-ntxent-field-torchvision-resnet18-digits-0"
    field = load_run_field(tmp_path / "runs" / name).field
    assert (field.weights > 0).all()


def test_bands_of_satellites_that_are_not_square_go_the_whole_road(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "bands" / f"class{number % 2}"
        folder.mkdir(exist_ok=True, parents=True)
        pixels = generator.integers(0, 65536, (20 + number, 30, 5))
        np.save(folder / f"{number:02}.npy", pixels.astype(np.uint16))
    (tmp_path / "bands" / "class0" / "notes.txt").write_text("not an image")
    train = "train --data bands --encoder small-convnet --image-size 24x16 --out run"
    few = "--epochs 1 --batch-size 8 --workers 0 --field.neighbors 2"
    assert main(f"{train} {few} --field pixels --projector".split()) == 0
    assert "not images: bands/class0/notes.txt" in capsys.readouterr().out
    assert main(["evaluate", "run"]) == 0
    assert main(["export", "run", "bands.onnx"]) == 0
    assert main(["verify", "bands.onnx", "--checkpoint", "run"]) == 0
    assert main(["embed", "bands.onnx", "bands", "vectors.parquet"]) == 0
    assert "20 images in vectors.parquet" in capsys.readouterr().out
    cluster = f"{train} {few} --recipe cluster --field pixels --recipe.clusters 2"
    assert main(cluster.replace("--out run", "--out clusters").split()) == 0
    assert main(["evaluate", "clusters"]) == 0
    session = EmbeddingSession("bands.onnx")
    assert session.image_size == (24, 16) and session.channels == 5


@pytest.mark.parametrize("recipe", ["dino", "byol", "cluster", "map2d"])
@pytest.mark.parametrize("augment", ["images", "batches"])
def test_recipes_take_images_that_are_not_square(recipe, augment, tmp_path, capsys):
    if augment == "batches" and recipe in ("cluster", "map2d"):
        pytest.skip("these recipes do not augment")
    words = f"train --recipe {recipe} --image-size 40x28 --limit 64 --batch-size 32"
    more = f"--epochs 1 --workers 0 --augment {augment} --out"
    assert main([*f"{words} {more}".split(), str(tmp_path / "run")]) == 0
