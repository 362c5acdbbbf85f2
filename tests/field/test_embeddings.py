"""Embeddings and features that a field is given, and where it stores them."""

import warnings

import numpy as np
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


@pytest.mark.parametrize("length", [1, 3.3])
def test_embeddings_that_cancel_but_for_rounding_do_so_too(length):
    field = ResponseField(8, 16, neighbors=3)
    z = torch.randn(1, 16)
    field.update(torch.tensor([2, 2, 2]), torch.cat([z, -z * length, z * 0]))
    assert not field.valid.any()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_embeddings_of_any_size(scale):
    z = torch.randn(8, 4)
    field, expected = small_field(3, 0.5), small_field(3, 0.5)
    field.update(torch.arange(8), z * scale)
    expected.update(torch.arange(8), z)
    for name in ("embeddings", "weights"):
        torch.testing.assert_close(getattr(field, name), getattr(expected, name))


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
        ([1j], torch.ones(1, 4), "to hold integers .* torch.complex64"),
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


def assert_rows_hold(field, copies):
    """Ids are unique and never the sample, and the rows of `copies` are copies."""
    total = field.weights.sum(dim=1) + field.self_mass
    torch.testing.assert_close(total, torch.ones(len(total)))
    for sample, row in enumerate(field.ids.tolist()):
        filled = [i for i in row if i >= 0]
        assert len(set(filled)) == len(filled)
        assert sample not in filled
        assert sample not in copies or set(filled) <= set(copies)


@pytest.mark.parametrize("count", [2, 9, 50])
def test_copies_of_one_image_are_each_others_neighbours(count):
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 16)).astype(np.float32)
    copies = random.choice(200, count, replace=False).tolist()
    features[copies] = features[copies[0]]
    field = ResponseField(200, 4, neighbors=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field.initialize(features)
    assert (field.ids >= 0).all()
    assert (field.self_mass == 0).all()
    assert_rows_hold(field, copies if count > 8 else [])
    if count == 2:
        assert field.ids[copies, 0].tolist() == copies[::-1]
    else:
        torch.testing.assert_close(field.weights[copies], torch.full((count, 8), 1 / 8))
    # Steps of the whole clique keep the rows distributions.
    field.update(torch.tensor(copies), torch.ones(count, 4))
    assert_rows_hold(field, copies if count > 8 else [])


@pytest.mark.parametrize("count", [9, 50])
def test_a_field_of_copies_alone_steps_on(count):
    field = ResponseField(count, 4, neighbors=8)
    for _ in range(3):
        field.update(torch.arange(count), torch.ones(count, 4))
    assert_rows_hold(field, range(count))
    assert (field.ids >= 0).all()


SAME = np.float32([[0.3, -7.1, 1e-3]])


@pytest.mark.parametrize(
    ("features", "which"),
    [
        (np.zeros((50, 3)), "all 50 samples are the same"),
        (np.repeat(SAME, 50, axis=0), "all 50 samples are the same"),
        (SAME * np.arange(1, 51)[:, None], "all 50 samples are the same"),  # lengths
        (np.nextafter(SAME, np.eye(50, 3)), "all 50 samples are the same"),
        (np.eye(50, 3), "47 of 50 samples are zero"),
    ],
)
def test_features_that_tell_no_neighbours_leave_rows_one_hot(features, which):
    field = ResponseField(50, 4, neighbors=8)
    with pytest.warns(UserWarning, match=f"features of {which}: .* one-hot"):
        field.initialize(features.astype(np.float32))
    alone = [True] * 50 if "all" in which else [i >= 3 for i in range(50)]
    assert field.self_mass.tolist() == [float(one) for one in alone]
    assert (field.ids[alone] == -1).all()
    assert_rows_hold(field, [])


def test_features_that_differ_by_little_more_than_rounding_have_neighbours():
    angle = (
        torch.arange(20) * 1e-3
    )  # 1 - cosine of the nearest: 5e-7; of the last: 2e-4
    field = ResponseField(20, 4, neighbors=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field.initialize(torch.stack([angle.cos(), angle.sin()], dim=1))
    assert (field.ids >= 0).all()


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
