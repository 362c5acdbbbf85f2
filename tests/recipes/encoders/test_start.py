"""Encoders that start from files, or from torchvision's and timm's own weights."""

import pytest
import safetensors.torch
import torch
import torchvision
from checkpoints import saved
from published_weights import (
    lively,
    publish_timm,
    publish_torchvision,
    without_network,
)
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.recipes.encoders.start import Normalization, start_encoder


def same(one: nn.Module, other: nn.Module) -> bool:
    others = other.state_dict()
    return one.state_dict().keys() == others.keys() and all(
        torch.equal(value, others[name]) for name, value in one.state_dict().items()
    )


def network() -> nn.Module:
    return lively(create_encoder("small-convnet"))


def plain(path, encoder):
    torch.save(encoder.state_dict(), path)


def safe(path, encoder):
    safetensors.torch.save_file(encoder.state_dict(), path)


def lightly(path, encoder):
    saved(path, {"backbone": encoder, "backbone_momentum": network()})


def moco(path, encoder):
    modules = {"encoder_q": encoder, "encoder_k": network()}
    saved(path, modules, wrap="module.")


def dino(path, encoder):
    teacher = {f"backbone.{k}": v for k, v in encoder.state_dict().items()}
    student = {f"backbone.{k}": v for k, v in network().state_dict().items()}
    torch.save({"student": student, "teacher": teacher, "epoch": 3}, path)


@pytest.mark.parametrize("form", [plain, safe, lightly, moco, dino])
def test_every_form_of_checkpoint_fills_the_encoder(form, tmp_path):
    path, encoder = tmp_path / "start.safetensors", network()
    path = path if form is safe else path.with_suffix(".pth")
    form(path, encoder)
    found, normalization = start_encoder("small-convnet", 3, weights=path)
    assert same(found, encoder)
    assert normalization is None
    assert all(parameter.requires_grad for parameter in found.parameters())


def test_torchvisions_file_fills_its_network_without_the_classifier(tmp_path):
    theirs = lively(torchvision.models.mobilenet_v3_small())
    plain(tmp_path / "theirs.pth", theirs)
    name = "torchvision:mobilenet_v3_small"
    encoder, _ = start_encoder(name, 3, weights=str(tmp_path / "theirs.pth"))
    theirs.classifier[-1] = nn.Identity()
    assert same(encoder, theirs)


def test_timms_file_fills_its_network_without_the_classifier(tmp_path):
    timm = pytest.importorskip("timm")
    theirs = lively(timm.create_model("mobilenetv3_small_050"))
    safe(tmp_path / "theirs.safetensors", theirs)
    encoder, _ = start_encoder(
        "timm:mobilenetv3_small_050", 3, weights=tmp_path / "theirs.safetensors"
    )
    theirs.reset_classifier(0)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(encoder.eval()(images), theirs(images))


def test_a_branch_is_named_where_names_do_not_tell(tmp_path):
    path, encoder = tmp_path / "two.pth", network()
    saved(path, {"left": encoder, "right": network()})
    with pytest.raises(ValueError, match=r"only left, right; .* argument `branch`"):
        start_encoder("small-convnet", 3, weights=path)
    found, _ = start_encoder("small-convnet", 3, weights=path, branch="left")
    assert same(found, encoder)


def test_a_module_is_filled_in_place(tmp_path):
    plain(tmp_path / "start.pth", network())
    module = create_encoder("small-convnet")
    found, _ = start_encoder(module, 3, weights=tmp_path / "start.pth")
    assert found is module
    assert same(
        module, start_encoder("small-convnet", 3, weights=tmp_path / "start.pth")[0]
    )


def test_a_runs_file_says_how_its_weights_read_images(tmp_path):
    record = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    saved(tmp_path / "run.ckpt", {"backbone": network()}, rkdo=record)
    _, normalization = start_encoder("small-convnet", 3, weights=tmp_path / "run.ckpt")
    assert normalization == Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_file_that_does_not_fit_is_refused_by_name_and_changes_nothing(tmp_path):
    state = network().state_dict()
    del state["layers.2.1.bias"]
    state["layers.0.0.weight"] = torch.zeros(16, 1, 3, 3)
    torch.save(state, tmp_path / "part.pth")
    module, before = create_encoder("small-convnet"), create_encoder("small-convnet")
    before.load_state_dict(module.state_dict())
    with pytest.raises(ValueError, match=r"part\.pth") as caught:
        start_encoder(module, 3, weights=tmp_path / "part.pth")
    assert "1 missing: layers.2.1.bias" in str(caught.value)
    assert "layers.0.0.weight (16, 1, 3, 3) for (16, 3, 3, 3)" in str(caught.value)
    assert same(module, before)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    broken = network()
    nn.init.constant_(broken.layers[1][1].bias, float("nan"))
    plain(tmp_path / "nan.pth", broken)
    with pytest.raises(ValueError, match=r"NaN .* layers\.1\.1\.bias"):
        start_encoder("small-convnet", 3, weights=tmp_path / "nan.pth")


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("resnet18", {"weights": "a.pth", "pretrained": True}, "got both: a.pth"),
        ("resnet18", {"branch": "left"}, "`weights` beside `branch`"),
        ("resnet18", {"pretrained": True}, "3 channels .* 'resnet18' but got 1"),
        ("small-convnet", {"pretrained": True}, "but got 'small-convnet'"),
        ("resnet18-small", {"pretrained": True}, "but got 'resnet18-small'"),
        (nn.Flatten(), {"pretrained": True}, "but got a Flatten"),
        ("resnet", {"pretrained": True}, "no encoder named 'resnet'"),
    ],
)
def test_a_start_that_cannot_be_is_refused(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        start_encoder(encoder, 1, **options)


def test_the_error_lists_the_encoders_with_published_weights():
    names = "masked-vit:NAME, resnet18, resnet50, timm:NAME, torchvision:NAME, but got"
    with pytest.raises(ValueError, match=names):
        start_encoder("pixels", 3, pretrained=True)


def test_an_encoder_without_weights_cannot_be_filled(tmp_path):
    plain(tmp_path / "start.pth", network())
    with pytest.raises(ValueError, match="Pixels has no weights"):
        start_encoder("pixels", 3, weights=tmp_path / "start.pth")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("resnet18", "resnet18"),
        ("torchvision:mobilenet_v3_small", "mobilenet_v3_small"),
    ],
)
def test_torchvisions_own_weights(name, model, tmp_path, monkeypatch):
    theirs = publish_torchvision(tmp_path, monkeypatch, model)
    encoder, normalization = start_encoder(name, 3, pretrained=True)
    if model == "resnet18":
        theirs.fc = nn.Identity()
    else:
        theirs.classifier[-1] = nn.Identity()
    assert same(encoder, theirs)
    imagenet = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalization == imagenet


def test_timms_own_weights_with_their_own_normalisation(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    theirs = publish_timm(tmp_path, monkeypatch, "vit_tiny_patch16_224")
    theirs.reset_classifier(0)
    for name in ("timm", "masked-vit"):
        encoder, normalization = start_encoder(
            f"{name}:vit_tiny_patch16_224", 3, pretrained=True
        )
        vit = encoder if name == "timm" else encoder.vit
        for key, value in theirs.state_dict().items():
            assert torch.equal(vit.state_dict()[key], value), key
        assert normalization == Normalization((0.5,) * 3, (0.5,) * 3)


def test_timm_adds_the_colours_of_the_first_convolution_for_grey(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    theirs = publish_timm(tmp_path, monkeypatch, "mobilenetv3_small_050")
    encoder, normalization = start_encoder(
        "timm:mobilenetv3_small_050", 1, pretrained=True
    )
    colours = theirs.conv_stem.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(encoder.conv_stem.weight, colours)
    assert normalization is None  # theirs is of colours


def test_a_timm_model_that_never_was_published():
    timm = pytest.importorskip("timm")
    assert not timm.is_model_pretrained("coatnet_0_224")
    with pytest.raises(ValueError, match="timm publishes but got 'coatnet_0_224'"):
        start_encoder("timm:coatnet_0_224", 3, pretrained=True)


@pytest.mark.parametrize("name", ["resnet18", "timm:mobilenetv3_small_050"])
def test_a_download_that_fails_names_the_encoder_and_the_way_out(
    name, tmp_path, monkeypatch
):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    without_network(tmp_path, monkeypatch)
    create_encoder(name)  # asks for no weights, so it asks no network
    with pytest.raises(
        OSError, match=rf"'{name}' but got: .+ --weights FILE"
    ) as caught:
        start_encoder(name, 3, pretrained=True)
    assert "\n" not in str(caught.value)
