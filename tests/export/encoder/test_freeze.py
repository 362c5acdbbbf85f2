import pickle

import pytest
import torch
import torchvision
from pytorch_lightning import LightningModule
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import freeze

PREPROCESSING = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}


def conv(weight: float) -> nn.Module:
    """One-layer backbones that are told apart by their weight."""
    module = nn.Conv2d(3, 2, 1)
    nn.init.constant_(module.weight, weight)
    return module


def saved(path, modules, wrap="", **extra):
    class Recipe(LightningModule):
        pass

    recipe = Recipe()
    for name, module in modules.items():
        setattr(recipe, name, module)
    state = {wrap + key: value for key, value in recipe.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1, **extra}, path)
    return path


def weight_of(encoder):
    return encoder.backbone.weight[0, 0].item()


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


def test_a_bare_state_dict(tmp_path):
    torch.save(conv(1.0).state_dict(), tmp_path / "bare.pt")
    assert weight_of(freeze(tmp_path / "bare.pt", conv(0.0), **PREPROCESSING)) == 1.0


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


def test_our_checkpoints_record_everything(tmp_path):
    backbone = create_encoder("small-convnet", in_channels=1)
    record = {
        "encoder": "small-convnet",
        "in_channels": 1,
        "image_size": 28,
        "mean": [0.3],
        "std": [0.2],
        "data": "digits",
        "recipe": "simclr",
    }
    path = saved(tmp_path / "own.ckpt", {"backbone": backbone}, rkdo=record)
    encoder = freeze(path)
    assert (encoder.image_size, encoder.channels, encoder.dim) == (28, 1, 96)
    torch.testing.assert_close(encoder.mean, torch.tensor([0.3]))
    torch.testing.assert_close(
        encoder.backbone.state_dict(), backbone.state_dict(), rtol=0, atol=0
    )
    assert freeze(path, image_size=32).image_size == 32


@pytest.fixture
def own(tmp_path):
    record = {
        "encoder": "small-convnet",
        "in_channels": 3,
        "image_size": 16,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    backbone = create_encoder("small-convnet")
    return saved(tmp_path / "own.ckpt", {"backbone": backbone}, rkdo=record)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("numbers", [[0.5, 0.5, 0.5], [0.485, 0.456, 0.407], [0.485]])
def test_other_preprocessing_than_trainings_is_refused(own, name, numbers):
    with pytest.raises(ValueError, match=rf"`{name}` \[.*own.ckpt.*\[0\.") as caught:
        freeze(own, **{name: numbers})
    assert str(numbers) in str(caught.value)


def test_the_same_preprocessing_may_be_said_again(own):
    encoder = freeze(own, mean=[0.48500001, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(encoder.mean, torch.tensor([0.485, 0.456, 0.406]))


def test_what_a_foreign_checkpoint_does_not_record_is_asked_for(tmp_path):
    path = saved(tmp_path / "foreign.ckpt", {"backbone": conv(1.0)})
    with pytest.raises(ValueError, match=r"arguments backbone, mean, std$"):
        freeze(path, image_size=16)


def test_the_backbone_passed_in_is_left_as_it_was(tmp_path):
    path = saved(tmp_path / "any.ckpt", {"backbone": conv(1.0)})
    backbone = conv(0.0).train()
    freeze(path, backbone, **PREPROCESSING)
    assert backbone.training and backbone.weight.eq(0).all()


def test_a_partial_state_dict_is_refused_naming_the_keys(tmp_path):
    state = create_encoder("small-convnet").state_dict()
    del state["layers.2.1.bias"]
    state["layers.9.weight"] = torch.zeros(1)
    state["layers.0.0.weight"] = torch.zeros(16, 1, 3, 3)
    torch.save(state, tmp_path / "partial.pt")
    with pytest.raises(ValueError, match="not those of a SmallConvNet") as caught:
        freeze(tmp_path / "partial.pt", "small-convnet", **PREPROCESSING)
    message = str(caught.value)
    assert "1 missing: layers.2.1.bias" in message
    assert "1 unexpected: layers.9.weight" in message
    assert "layers.0.0.weight (16, 1, 3, 3) for (16, 3, 3, 3)" in message


def test_another_architecture_is_refused(tmp_path):
    path = saved(tmp_path / "r18.ckpt", {"backbone": create_encoder("resnet18")})
    with pytest.raises(ValueError, match=r"r18\.ckpt.*missing: layers.*unexpected"):
        freeze(path, "small-convnet", **PREPROCESSING)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = saved(tmp_path / "nan.ckpt", {"backbone": conv(float("nan"))})
    with pytest.raises(ValueError, match="NaN or infinity"):
        freeze(path, conv(0.0), **PREPROCESSING)


def cut_at(share):
    def write(path):
        whole = saved(path, {"backbone": conv(1.0)}).read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return write


class Payload:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    "write",
    [
        *(cut_at(share) for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999)),
        lambda path: path.write_bytes(pickle.dumps({"state_dict": {"a": 1}})),
        lambda path: path.write_bytes(pickle.dumps(Payload())),
        lambda path: torch.save({"state_dict": Payload()}, path),
        lambda path: torch.save(conv(1.0), path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"state_dict": {}}, path),
        lambda path: path.write_text("epoch: 3\n"),
        lambda path: path.write_bytes(bytes(range(256)) * 40),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, write, capsys):
    path = tmp_path / "broken.ckpt"
    write(path)
    with pytest.raises(ValueError, match=r"broken\.ckpt.*expected a Lightning"):
        freeze(path, conv(0.0), **PREPROCESSING)
    assert "never run" not in capsys.readouterr().out


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        freeze(tmp_path / "none.ckpt")


def test_the_folder_of_a_run(tmp_path):
    with pytest.raises(
        IsADirectoryError, match=r"is a folder; .* a run's is last\.ckpt"
    ):
        freeze(tmp_path)
