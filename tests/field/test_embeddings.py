"""Embeddings and features that a field is given, and where it stores them."""

import pytest
import torch
from fields_by_hand import assert_untouched, small_field, snapshot

from rkdo_plugin import ResponseField

NAN = torch.full((1, 4), torch.nan)


def test_embeddings_that_cancel_leave_their_sample_as_it_was():
    field = small_field(3, 0.5)
    z = torch.randn(1, 4)
    before = snapshot(field)
    field.update(torch.tensor([2, 2]), torch.cat([z, -z]))
    before["updates"] += 1
    assert_untouched(field, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_embeddings_of_any_dtype(dtype):
    index, z = torch.arange(8, dtype=torch.int32), torch.randn(8, 4).to(dtype)
    field, expected = small_field(3, 0.5), small_field(3, 0.5)
    field.update(index, z)
    expected.update(index, z.float())
    assert_untouched(field, snapshot(expected))


@pytest.mark.parametrize(
    ("index", "embeddings", "message"),
    [
        ([8], torch.ones(1, 4), r"values in \[0, 8\) but got 8"),
        ([-1], torch.ones(1, 4), r"values in \[0, 8\) but got -1"),
        ([0.5], torch.ones(1, 4), "to hold integers"),
        ([[1]], torch.ones(1, 4), "to hold integers"),
        ([1], torch.ones(1, 5), r"shape \(1, 4\)"),
        ([1, 2], torch.ones(1, 4), r"shape \(2, 4\)"),
        ([1], NAN, "finite but got nan in row 0"),
        ([1], NAN * torch.inf, "finite"),
        ([1], torch.full((1, 4), 1e300, dtype=torch.float64), "finite but got inf"),
    ],
)
def test_bad_steps_leave_the_field_as_it_was(index, embeddings, message):
    field = small_field(3, 0.5)
    field.update(torch.arange(8), torch.randn(8, 4))
    before = snapshot(field)
    with pytest.raises(ValueError, match=message):
        field.update(torch.tensor(index), embeddings)
    assert_untouched(field, before)


@pytest.mark.parametrize(
    "features", [torch.ones(7, 3), torch.ones(8), torch.ones(8, 0), NAN.expand(8, 4)]
)
def test_bad_features_leave_the_field_as_it_was(features):
    field = small_field(3, 0.5)
    before = snapshot(field)
    with pytest.raises(ValueError, match="Expected `features`"):
        field.initialize(features)
    assert_untouched(field, before)


def test_embeddings_in_a_file_outlive_the_field(tmp_path):
    options = {"embeddings_file": tmp_path / "bank", "embedding_dtype": torch.float32}
    z = torch.nn.functional.normalize(torch.randn(20, 4), dim=1)
    field = ResponseField(20, 4, **options)
    field.update(torch.arange(20), z)
    state = field.state_dict()
    torch.testing.assert_close(ResponseField(20, 4, **options).embeddings, z)
    plain = ResponseField(20, 4, embedding_dtype=torch.float32)
    plain.load_state_dict(state)
    torch.testing.assert_close(plain.embeddings, z)
    with pytest.raises(ValueError, match="to hold 336 bytes"):
        ResponseField(21, 4, **options)


def test_embeddings_of_another_size_say_how_to_create_the_field():
    field = small_field(3, 0.5)
    with pytest.raises(ValueError, match=r"but got \(2, 7\); create .* with dim=7"):
        field.update(torch.tensor([0, 1]), torch.randn(2, 7))
