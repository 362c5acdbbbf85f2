import field_teacher
import numpy as np
import pytest
import results
import torch
from PIL import Image
from torch import nn
from torch.nn import functional


@pytest.fixture
def folder(tmp_path, arrays):
    """The images as PNG files in train/CLASS and test/CLASS."""
    for part, before in (("train", ""), ("test", "t")):
        for index, label in enumerate(arrays[f"{before}y"]):
            file = tmp_path / part / f"class{label}" / f"{index:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays[f"{before}x"][index]).save(file)
    return tmp_path


def test_the_table_of_all_arms_from_one_teacher(folder, capsys):
    file = folder / "results.jsonl"
    call = ["run", str(file), "--cifar10", str(folder), "--images", "30"]
    call += ["--epochs", "2", "--seeds", "1"]
    call += ["--teacher", "small-convnet", "--teacher-epochs", "1"]
    field_teacher.main(call)
    rows = results.read(file)
    assert {name for name, *_ in rows} == {"teacher", *field_teacher.ARMS}
    features = np.load(file.with_suffix(".teacher.npy"))
    assert features.shape == (30, 96)
    printed = capsys.readouterr().out
    for name in field_teacher.ARMS:
        assert f"| {name} | {100 * rows[name, 2, 0]['knn']:.2f} |" in printed
    lines = file.read_text()
    field_teacher.main(call)
    assert file.read_text() == lines


@pytest.mark.parametrize("contrast", [True, False])
def test_distillation_is_the_mean_cosine_distance_to_each_views_own_target(contrast):
    torch.manual_seed(0)
    targets, z0, z1 = torch.randn(9, 4), torch.randn(3, 4), torch.randn(3, 4)
    criterion = nn.MSELoss() if contrast else None
    distilled = field_teacher.Distilled(criterion, targets, 0.5)
    distilled.samples = [torch.tensor([4, 0, 8]), torch.tensor([1, 0, 2])]
    sums = [
        1 - functional.cosine_similarity(z[row], targets[ids[row]], dim=0)
        for z, ids in zip((z0, z1), distilled.samples, strict=True)
        for row in range(3)
    ]
    alone = functional.mse_loss(z0, z1) if contrast else 0
    torch.testing.assert_close(distilled(z0, z1), alone + 0.5 * sum(sums) / 6)


def test_the_principal_part_keeps_cosines_and_fills_up_with_zeros():
    features = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    centred = torch.from_numpy(features - features.mean(axis=0))
    leading = field_teacher.leading(features, 8)
    assert leading.shape == (20, 8)
    torch.testing.assert_close(leading @ leading.T, centred @ centred.T)


def test_crops_move_whole_rows_and_columns():
    images = torch.arange(2 * 3 * 6 * 6.0).reshape(2, 3, 6, 6) + 1
    torch.manual_seed(0)
    cropped = field_teacher.cropped(images)
    assert cropped.shape == images.shape
    for image, source in zip(cropped, images, strict=True):
        padded = functional.pad(source, (4, 4, 4, 4))
        windows = [
            window
            for whole in (padded, padded.flip(2))
            for top in range(9)
            for window in whole[:, top : top + 6].unfold(2, 6, 1).unbind(2)
        ]
        assert any(torch.equal(image, window) for window in windows)
