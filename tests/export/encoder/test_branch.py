"""Find the encoder in every form of checkpoint; networks differ by a bias."""

import argparse
import copy

import pytest
import torch
import torchvision
from checkpoints import conv, saved, weight_of
from lightly.models.modules import (
    MaskedVisionTransformerTIMM,
    MaskedVisionTransformerTorchvision,
)
from torch import nn

from rkdo_plugin.export import Encoder, freeze

PREPROCESSING = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
TRAINED, COPY = 1.0, 2.0


class Network(nn.Module):
    """A small network whose parts have the names of torchvision's ResNets."""

    def __init__(self, bias=0.0, fc=None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16))
        self.fc = nn.Identity() if fc is None else fc
        nn.init.constant_(self.bn1.bias, bias)

    def forward(self, images):
        return self.fc(self.layer1(self.bn1(self.conv1(images))).mean(dim=(2, 3)))


def state(modules, module_of_all="", wrap=lambda module: module):
    whole = wrap(nn.ModuleDict(modules))
    return {module_of_all + key: value for key, value in whole.state_dict().items()}


def projector():
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))


def moco_v2():
    modules = {
        "encoder_k": Network(COPY, projector()),
        "encoder_q": Network(TRAINED, projector()),
    }
    weights = state(modules, "module.")
    queue = {"module.queue": torch.zeros(128, 8), "module.queue_ptr": torch.zeros(1)}
    return {"epoch": 1, "arch": "resnet50", "state_dict": weights | queue}


def moco_v3():
    modules = {
        "base_encoder": Network(TRAINED, projector()),
        "momentum_encoder": Network(COPY, projector()),
        "predictor": projector(),
    }
    return {"arch": "resnet50", "state_dict": state(modules, "module.")}


def dino():
    return {
        "student": state({"backbone": Network(COPY), "head": projector()}, "module."),
        "teacher": state({"backbone": Network(TRAINED), "head": projector()}),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3,
        "args": argparse.Namespace(arch="resnet50"),
        "dino_loss": {"center": torch.zeros(1, 8)},
    }


def dinov2_training():
    modules = {
        f"{who}.{part}": module
        for who, bias in (("student", COPY), ("teacher", TRAINED))
        for part, module in (("backbone", Network(bias)), ("dino_head", projector()))
    }
    flat = {
        f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()
    }
    return {"model": flat, "iteration": 5}


def barlow_twins():
    modules = {"backbone": Network(TRAINED), "projector": projector()}
    return {"epoch": 1, "model": state(modules, "module.")}


def lightly_byol():
    modules = {
        "backbone_momentum": Network(COPY),
        "projection_head_momentum": projector(),
        "backbone": Network(TRAINED),
        "projection_head": projector(),
    }
    return {"state_dict": state(modules), "pytorch-lightning_version": "2.4"}


def classifier():
    """timm's training script and torchvision's: the network with its last layer."""
    return {"arch": "x", "state_dict": Network(TRAINED, nn.Linear(16, 9)).state_dict()}


def tutorial():
    return {"epoch": 1, "model_state_dict": Network(TRAINED).state_dict()}


FORMS = [
    moco_v2,
    moco_v3,
    dino,
    dinov2_training,
    barlow_twins,
    lightly_byol,
    classifier,
    tutorial,
]


def bias_of(encoder):
    values = encoder.backbone.bn1.bias.unique()
    assert len(values) == 1
    return values.item()


@pytest.mark.parametrize("form", FORMS)
def test_the_trained_encoder_comes_out_of_others_checkpoints(form, tmp_path):
    torch.save(form(), tmp_path / "foreign.pth")
    encoder = freeze(tmp_path / "foreign.pth", Network(), **PREPROCESSING)
    assert bias_of(encoder) == TRAINED


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.compile,
        lambda module: nn.DataParallel(torch.compile(module)),
        lambda module: torch.compile(nn.DataParallel(module)),
    ],
)
@pytest.mark.parametrize("where", ["recipe", "backbone", "layer"])
def test_wrappers_in_any_order_at_any_depth(wrap, where, tmp_path):
    backbone = Network(TRAINED)
    if where == "layer":
        backbone.layer1 = wrap(backbone.layer1)
    modules = nn.ModuleDict(
        {
            "backbone": wrap(backbone) if where == "backbone" else backbone,
            "backbone_momentum": Network(COPY),
        }
    )
    whole = wrap(modules) if where == "recipe" else modules
    assert any("module." in key or "_orig_mod." in key for key in whole.state_dict())
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "wrapped.ckpt")
    encoder = freeze(tmp_path / "wrapped.ckpt", Network(), **PREPROCESSING)
    assert bias_of(encoder) == TRAINED


def test_a_compiled_backbone_is_filled_from_a_plain_checkpoint(tmp_path):
    torch.save(Network(TRAINED).state_dict(), tmp_path / "plain.pt")
    compiled = torch.compile(Network(), backend="eager")
    encoder = freeze(tmp_path / "plain.pt", compiled, **PREPROCESSING)
    assert bias_of(encoder) == TRAINED


@pytest.fixture
def ijepa(tmp_path):
    """Names that only their author can tell apart."""
    modules = {"encoder": Network(COPY), "target_encoder": Network(TRAINED)}
    torch.save({"state_dict": state(modules, "module.")}, tmp_path / "ijepa.ckpt")
    return tmp_path / "ijepa.ckpt"


def test_names_that_say_nothing_are_listed(ijepa):
    with pytest.raises(
        ValueError, match=r"found only encoder, target_encoder; name .* `branch`"
    ):
        freeze(ijepa, Network(), **PREPROCESSING)


@pytest.mark.parametrize("name", ["target_encoder", "module.target_encoder."])
def test_a_branch_by_name(ijepa, name):
    encoder = freeze(ijepa, Network(), branch=name, **PREPROCESSING)
    assert bias_of(encoder) == TRAINED


def test_a_branch_that_is_not_there(ijepa):
    with pytest.raises(
        ValueError, match=r"`branch` encodr .* only encoder, target_encoder"
    ):
        freeze(ijepa, Network(), branch="encodr", **PREPROCESSING)


def test_a_branch_may_be_the_momentum_copy_when_it_is_asked_for(tmp_path):
    torch.save(lightly_byol(), tmp_path / "byol.ckpt")
    path = tmp_path / "byol.ckpt"
    encoder = freeze(path, Network(), branch="backbone_momentum", **PREPROCESSING)
    assert bias_of(encoder) == COPY


def test_two_encoders_that_could_both_be_meant_are_refused(tmp_path):
    modules = {"backbone": Network(1.0), "teacher_backbone": Network(2.0)}
    torch.save({"state_dict": state(modules)}, tmp_path / "two.ckpt")
    with pytest.raises(ValueError, match="found several: backbone, teacher_backbone"):
        freeze(tmp_path / "two.ckpt", Network(), **PREPROCESSING)


def test_an_incomplete_encoder_is_not_replaced_by_its_momentum_copy(tmp_path):
    checkpoint = lightly_byol()
    del checkpoint["state_dict"]["backbone.bn1.bias"]
    torch.save(checkpoint, tmp_path / "byol.ckpt")
    with pytest.raises(ValueError, match=r"1 missing: bn1\.bias"):
        freeze(tmp_path / "byol.ckpt", Network(), **PREPROCESSING)


def test_a_moving_average_beside_the_encoder_is_never_meant(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(Network(COPY))
    torch.save({"ema": averaged.state_dict()}, tmp_path / "ema.pt")
    with pytest.raises(ValueError, match="found only ema; name"):
        freeze(tmp_path / "ema.pt", Network(), **PREPROCESSING)


def test_what_an_identity_stands_for_is_left_out_of_classifiers_only(tmp_path):
    class Net(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)
            self.scale = scale

        def forward(self, images):
            return self.scale(self.conv(images))

    torch.save(Net(nn.Conv2d(2, 2, 1)).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"2 unexpected: scale\.bias, scale\.weight"):
        freeze(tmp_path / "net.pt", Net(nn.Identity()), **PREPROCESSING)


def masked_timm(num_classes=0):
    timm = pytest.importorskip("timm")
    name, sizes = "vit_tiny_patch16_224", {"img_size": 32, "depth": 1}
    vit = timm.create_model(name, num_classes=num_classes, **sizes)
    return MaskedVisionTransformerTIMM(vit)


def masked_torchvision():
    vit = torchvision.models.VisionTransformer(32, 16, 1, 2, 24, 48)
    return MaskedVisionTransformerTorchvision(vit)


@pytest.mark.parametrize("create", [masked_timm, masked_torchvision])
def test_lightlys_masked_vision_transformers(create, tmp_path):
    trained = create().eval()
    modules = {"student_backbone": create(), "teacher_backbone": trained}
    torch.save({"state_dict": state(modules)}, tmp_path / "dino.ckpt")
    encoder = freeze(tmp_path / "dino.ckpt", create(), **PREPROCESSING)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    expected = Encoder(copy.deepcopy(trained), **PREPROCESSING)
    torch.testing.assert_close(encoder(images), expected(images), rtol=0, atol=0)


def test_lightlys_dinov2_example_keeps_an_unused_classifier(tmp_path):
    trained = masked_timm(num_classes=10)
    torch.save({"teacher_backbone": trained.state_dict()}, tmp_path / "dinov2.ckpt")
    encoder = freeze(tmp_path / "dinov2.ckpt", masked_timm(), **PREPROCESSING)
    found = encoder.backbone.vit.blocks[0].attn.qkv.weight
    assert torch.equal(found, trained.vit.blocks[0].attn.qkv.weight)


def test_a_plain_transformer_within_lightlys_is_named_by_its_branch(tmp_path):
    trained = masked_timm()
    torch.save({"state_dict": state({"backbone": trained})}, tmp_path / "mae.ckpt")
    plain = masked_timm().vit
    with pytest.raises(ValueError, match="missing"):
        freeze(tmp_path / "mae.ckpt", plain, **PREPROCESSING)
    encoder = freeze(
        tmp_path / "mae.ckpt", plain, branch="backbone.vit", **PREPROCESSING
    )
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    expected = Encoder(trained, **PREPROCESSING)
    torch.testing.assert_close(encoder(images), expected(images), rtol=0, atol=1e-6)


def test_byol_gives_the_backbone_and_not_its_momentum_copy(tmp_path):
    modules = {
        "backbone_momentum": conv(2.0),
        "projection_head": nn.Linear(2, 2),
        "backbone": conv(1.0),
        "online_classifier": nn.Linear(2, 10),
    }
    path = saved(tmp_path / "byol.ckpt", modules)
    assert weight_of(freeze(path, conv(0.0), **PREPROCESSING)) == 1.0


def test_dino_gives_the_teacher(tmp_path):
    modules = {"student_backbone": conv(2.0), "teacher_backbone": conv(1.0)}
    path = saved(tmp_path / "dino.ckpt", modules)
    assert weight_of(freeze(path, conv(0.0), **PREPROCESSING)) == 1.0


def test_a_copy_alone_is_refused(tmp_path):
    modules = {"key_backbone": conv(2.0), "student_backbone": conv(3.0)}
    path = saved(tmp_path / "copy.ckpt", modules)
    with pytest.raises(ValueError, match=r"found only key_backbone, student_backbone"):
        freeze(path, conv(0.0), **PREPROCESSING)


@pytest.mark.parametrize("wrap", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_around_the_recipe_are_removed(tmp_path, wrap):
    path = saved(tmp_path / "wrapped.ckpt", {"backbone": conv(1.0)}, wrap)
    assert weight_of(freeze(path, conv(0.0), **PREPROCESSING)) == 1.0


@pytest.mark.parametrize("wrap", ["module", "_orig_mod"])
def test_wrappers_around_the_backbone_are_removed(tmp_path, wrap):
    wrapped = nn.ModuleDict({wrap: conv(1.0)})
    path = saved(tmp_path / "wrapped.ckpt", {"backbone": wrapped})
    assert weight_of(freeze(path, conv(0.0), **PREPROCESSING)) == 1.0


def test_a_backbone_whose_own_part_is_called_module_is_kept(tmp_path):
    class Net(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.module = conv(weight)

        def forward(self, images):
            return self.module(images)

    path = saved(tmp_path / "net.ckpt", {"backbone": Net(1.0)})
    encoder = freeze(path, Net(0.0), **PREPROCESSING)
    assert weight_of(nn.ModuleDict({"backbone": encoder.backbone.module})) == 1.0


@pytest.mark.parametrize("by_name", [False, True])
def test_lightly_examples_cut_the_classifier_off_a_resnet(tmp_path, by_name):
    def cut():
        return nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])

    trained = cut()
    path = saved(tmp_path / "simclr.ckpt", {"backbone": trained})
    backbone = "resnet18" if by_name else cut()
    rgb = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    encoder = freeze(path, backbone, **rgb)
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        pixels = (images / 255 - 0.5) / 0.25
        features = trained.eval()(pixels.permute(0, 3, 1, 2))
    assert features.shape == (3, 512, 1, 1)
    expected = nn.functional.normalize(features[:, :, 0, 0])
    torch.testing.assert_close(encoder(images), expected, atol=1e-6, rtol=0)
