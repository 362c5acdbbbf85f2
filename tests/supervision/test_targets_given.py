"""What a supervision reads, and what it says of something else."""

import math

import pytest
import torch

from rkdo_plugin import create_loss

B = 8
Z = torch.randn(B, 3, generator=torch.manual_seed(0))
X = torch.randn(B, 5, generator=torch.manual_seed(1))
PROTOTYPES = torch.randn(4, 3, generator=torch.manual_seed(2))
READS = {
    "supcon": "labels (8,), integers",
    "lgsimclr": "features (8, F)",
    "x-sample": "metadata (8, F)",
    "sne": "features (8, F)",
    "t-sne": "features (8, F)",
    "k-means": "features (8, F)",
    "spectral": "features (8, F)",
    "normalized-cuts": "features (8, F)",
    "infonce-clustering": "features (8, F)",
    "cross-entropy": "classes (8,) or counts (8, 4)",
    "harmonic": "classes (8,) or counts (8, 4)",
    "mlm": "classes (8,) or counts (8, 4)",
}


@pytest.mark.parametrize("name", READS)
def test_a_loss_without_its_targets_says_what_it_reads(name):
    options = {"perplexity": 3.0} if name in ("sne", "t-sne") else {}
    classes = READS[name].startswith("classes")
    criterion = create_loss(name, **options)
    with pytest.raises(TypeError) as error:
        criterion(Z, PROTOTYPES if classes else None)
    assert f"Expected `targets` to be {READS[name]} but got none" in str(error.value)
    with pytest.raises(TypeError, match="but got list"):
        criterion(Z, PROTOTYPES if classes else None, targets=[0] * B)


@pytest.mark.parametrize(
    ("name", "targets", "error", "message"),
    [
        ("supcon", torch.arange(7), ValueError, r"labels \(8,\).* shape \(7,\)"),
        ("supcon", X, TypeError, r"labels \(8,\), integers, but got torch.float32"),
        ("supcon", torch.ones(B, 2).long(), ValueError, r"got shape \(8, 2\)"),
        ("lgsimclr", X[:5], ValueError, r"features \(8, F\).* got shape \(5, 5\)"),
        ("lgsimclr", X[0], ValueError, r"got shape \(5,\)"),
        ("supcon", X[:, 0] * 1j, TypeError, "integers but got torch.complex64"),
        ("lgsimclr", X * 1j, TypeError, r"\(8, F\) but got torch.complex64"),
        ("lgsimclr", X.to_sparse(), TypeError, "but got .* layout torch.sparse_coo"),
        ("lgsimclr", X[:, :0], ValueError, r"got shape \(8, 0\)"),
        ("x-sample", X.where(X < 1, math.nan), ValueError, "finite but got NaN"),
        ("k-means", X.where(X < 1, math.inf), ValueError, "finite but got NaN"),
    ],
)
def test_targets_of_the_wrong_kind_are_named(name, targets, error, message):
    with pytest.raises(error, match=message):
        create_loss(name)(Z, targets=targets)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.tensor([0, 1, 2, 3, 0, 1, 2, 4]), ValueError, r"\[0, 4\).* but got 4"),
        (torch.tensor([0, 1, 2, 3, 0, 1, 2, -1]), ValueError, "-100.* but got -1"),
        (torch.arange(7), ValueError, r"classes \(8,\).* got shape \(7,\)"),
        (torch.rand(B), TypeError, "integers, but got torch.float32"),
        (torch.rand(B, 5), ValueError, r"counts \(8, 4\) but got shape \(8, 5\)"),
        (-torch.rand(B, 4), ValueError, "hold no negative number but got -0"),
    ],
)
def test_classes_out_of_range_are_named(targets, error, message):
    with pytest.raises(error, match=message):
        create_loss("cross-entropy")(Z, PROTOTYPES, targets=targets)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16])
def test_classes_of_any_integer_dtype(dtype):
    """As an unsigned byte, -100, which stands for no class, is 156."""
    labels = torch.tensor([156, 0, 199, 7, 7, 100, 1, 2])
    prototypes = torch.randn(200, 3)
    found, expected = (
        create_loss("cross-entropy")(Z, prototypes, targets=targets)
        for targets in (labels.to(dtype), labels)
    )
    torch.testing.assert_close(found, expected)
    found, expected = (
        create_loss("supcon")(Z, targets=targets)
        for targets in (labels.to(dtype), labels)
    )
    torch.testing.assert_close(found, expected)


def test_bytes_among_many_classes():
    labels = torch.arange(B)
    found, expected = (
        create_loss("cross-entropy")(Z, torch.ones(200, 3), targets=targets)
        for targets in (labels.to(torch.int8), labels)
    )
    torch.testing.assert_close(found, expected)
