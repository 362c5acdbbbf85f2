"""A third party's recipe, encoder, bank and exporter, used by the commands."""

import json

import pytest
import torch
import yaml
from checkout import blocks, commands

from rkdo_plugin import Recipe
from rkdo_plugin.cli.main import main
from rkdo_plugin.recipes.evaluation.trained import load_trained

CODE = '''
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from rkdo_plugin import Recipe, RecipeSettings, ResponseField, hookimpl


@dataclass(frozen=True)
class AcmeSettings(RecipeSettings):
    """Settings of `Acme`.

    Args:
        width: Width of the head.
    """

    encoder: str | nn.Module = "acme-pixels"
    width: int = 3


class Acme(Recipe):
    """Two views through one linear head."""

    Settings = AcmeSettings
    default_loss = "icon"
    default_field = None
    reports = True

    def __init__(self, settings=None):
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = nn.Linear(dim, self.settings.width)

    def training_step(self, batch, batch_idx):
        view0, view1 = batch[0]
        return self.log_loss(self.criterion(self(view0), self(view1)), len(view0))

    def report(self, data, folder):
        return f"acme, {self.settings.width} wide, {len(data.test)} test images"


class Means(nn.Module):
    """The mean of each row of pixels, times a weight."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * images.mean(dim=3).flatten(1)


class Bank(ResponseField):
    """A field that counts its updates in Python."""

    def update(self, index, embeddings, coupling=None):
        super().update(index, embeddings, coupling)
        Path("bank.txt").write_text(str(int(self.updates)))


def as_json(encoder, path, *, overwrite, images):
    shape = None if images is None else list(images.shape)
    Path(path).write_text('{"dim": %d, "images": %s}' % (encoder.dim, shape))
    return "written by acme"


@hookimpl
def rkdo_recipes():
    return {"acme": "acme_module:Acme", "acme-none": dict}


@hookimpl
def rkdo_encoders():
    return {"acme-pixels": Means}


@hookimpl
def rkdo_banks():
    return {"acme-bank": Bank, "acme-none": lambda *sizes, **options: None}


@hookimpl
def rkdo_exporters():
    return {"acme-json": as_json}
'''
TRAIN = "train --limit 64 --batch-size 32 --epochs 1 --workers 0"


@pytest.fixture(autouse=True)
def acme(install, fresh_host, tmp_path, monkeypatch):
    install("acme", CODE)
    monkeypatch.chdir(tmp_path)


def test_a_recipe_is_trained_exported_and_reports_on_itself(tmp_path, capsys):
    words = f"{TRAIN} --recipe acme --recipe.width 5 --out run"
    assert main(words.split()) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["recipe_options"] == {"width": 5}
    recipe = load_trained(tmp_path / "run").recipe
    assert isinstance(recipe, Recipe)
    assert recipe.projection_head.weight.shape == (5, 28)
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    assert capsys.readouterr().out == "acme, 5 wide, 360 test images\n"
    assert main(["export", "run", "acme.onnx"]) == 0
    assert "parity passed" in capsys.readouterr().out


def test_the_options_of_a_recipe_are_shown(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--recipe", "acme", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "--recipe.width WIDTH Width of the head. (type: int, default: 3)" in out
    assert "--recipe.learning-rate" in out
    for decided in ("in-channels", "image-size", "encoder", "num-classes"):
        assert f"--recipe.{decided}" not in out


def test_an_encoder_goes_by_name_in_any_recipe(tmp_path):
    words = f"{TRAIN} --recipe simclr --encoder acme-pixels --out run"
    assert main(words.split()) == 0
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert saved["rkdo"]["encoder"] == "acme-pixels"
    assert "backbone.scale" in saved["state_dict"]


def test_a_bank_keeps_the_rows_of_a_field(tmp_path):
    words = f"{TRAIN} --field pixels --field.coupling 0.5 --field.bank acme-bank"
    assert main([*words.split(), "--out", "run"]) == 0
    assert (tmp_path / "bank.txt").read_text() == "2"


def test_an_exporter_gets_the_encoder_and_images(tmp_path, capsys):
    assert main([*TRAIN.split(), "--out", "run"]) == 0
    assert main(["export", "run", "out.json", "--exporter", "acme-json"]) == 0
    assert "written by acme" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written == {"dim": 96, "images": [43, 28, 28, 1]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe acme-none", "recipe 'acme-none' to be a subclass of rkdo_plugin."),
        ("--field pixels --field.bank acme-none", "bank 'acme-none' to be a Response"),
        ("--recipe acme --loss dino", "criterion of two tensors with Acme but got"),
    ],
)
def test_what_keeps_no_protocol_is_named(words, message, tmp_path, capsys):
    assert main([*TRAIN.split(), *words.split(), "--out", "run"]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_commands_of_the_guide(install, capsys):
    for name, code in zip(
        ("loss", "recipe"), blocks("docs/plugins.md", "python"), strict=True
    ):
        install(f"guide-{name}", code, module=f"guide_{name}")
    for words in commands("docs/plugins.md"):
        short = TRAIN.split()[1:] if words[1] == "train" else []
        assert main([*words[1:], *short]) == 0, words
    printed = capsys.readouterr().out
    for found in ("acme-align-uniform", "acme-narrow", "acme-columns", "parity passed"):
        assert found in printed
