"""What is predicted of each row: by other ways to count, and by what is published."""

import gpu_export
import gpu_field
import gpu_losses
import gpu_prediction
import gpu_training
import pytest
import torch
import torchvision
from checkout import ROOT
from gpu_prediction import counted
from gpu_roofline import H100
from gpu_rows import FULL, Budget, Clock

FLOAT = 4


def test_nt_xent_at_another_size_is_what_counting_there_gives():
    direct = counted(gpu_prediction.one_pass("ntxent", 200, 16, torch.device("cpu")))
    found = gpu_prediction.loss_work("ntxent", 200, 16)
    assert found.parts == pytest.approx(direct.work().parts, rel=1e-9)


def test_the_products_of_a_loss_are_those_of_matrices():
    """Of all rows with all columns, and as many for the gradient of each side."""
    batch, dim = 96, 16
    # All against all is symmetric: the two sides are one.
    for name, columns, products in (("icon", 2 * batch, 2), ("icon cross", batch, 3)):
        found = gpu_prediction.loss_work(name, batch, dim)
        assert found.flops == products * 2 * columns * columns * dim


def test_rkdo_is_counted_with_its_kernels_of_triton():
    """Three a chunk: fewer than I-Con's operations, of which RKDO's would be a part."""
    batch, dim = 96, 16
    found = gpu_prediction.loss_work("rkdo", batch, dim)
    cross = gpu_prediction.loss_work("icon cross", batch, dim)
    assert found.flops == cross.flops and found.launches < cross.launches


def test_an_exact_update_is_affine_in_the_number_of_samples():
    step = gpu_prediction.searches.CHUNK // 256
    bank = gpu_prediction.filled_field(4 * step, 8)
    index, z = torch.randperm(4 * step)[:256], torch.randn(256, 8)
    bank.search = "exact"
    direct = counted(lambda: bank.update(index, z)).work()
    found = gpu_prediction.field_work("exact", 4 * step, 256, 8)
    assert found.parts == pytest.approx(direct.parts, rel=0.01)


@pytest.mark.parametrize(("arithmetic", "size"), [("fp32", FLOAT), ("fp16", 2)])
def test_a_resnets_products_are_those_that_torchvision_publishes(arithmetic, size):
    found = gpu_prediction.encoder_work("resnet18", 224, 1, arithmetic)
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta
    # Published are multiply-adds, and with the classifier's.
    assert found.flops / 2e9 == pytest.approx(published["_ops"], rel=0.01)
    parameters = published["num_params"] - 512_000 - 1000
    assert found.bytes >= size * (parameters - 9600)  # without batch norms'
    card = H100
    least = found.flops / card.rates[arithmetic], found.bytes / card.bandwidth
    assert max(least) <= found.seconds <= sum(least)


def test_every_row_of_the_benchmark_is_predicted():
    sections = (gpu_losses.losses, gpu_field.field, gpu_training.training)
    clock = Clock(torch.device("cpu"), 1)
    measured = [row for each in sections for row in each(clock, FULL, Budget(-1))]
    keys = {row.key for row in measured} | {
        (gpu_export.SECTION, way, f"{name}, B = {batch}")
        for name in FULL.encoders
        for batch in FULL.encoder_batches
        for way in gpu_export.ARITHMETIC
    }
    assert gpu_prediction.saved().keys() == keys


def test_what_is_written_down_is_what_is_computed():
    """Of rows that take a moment; `python benchmarks/gpu_prediction.py` renews all."""
    saved = gpu_prediction.saved()
    for name in gpu_prediction.CRITERIA:
        found = gpu_prediction.loss_work(name, 256, FULL.dim)
        expected = saved["losses", name, "B = 256"].parts
        assert found.parts == pytest.approx(expected, rel=0.1), name


def test_the_page_has_the_table():
    text = (ROOT / "docs" / "gpu.md").read_text()
    assert gpu_prediction.table(gpu_prediction.saved()) in text
