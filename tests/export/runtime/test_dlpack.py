"""Tensors are read and written where they are."""

import numpy as np
import pytest
import torch

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.runtime.dlpack import require_at_hand, run_in_place


@pytest.fixture
def session(small_file):
    return EmbeddingSession(small_file, provider="cpu")


def test_tensors_give_the_same_bits_as_arrays(session, images):
    embeddings = session.embed_tensor(torch.from_numpy(images))
    assert embeddings.dtype == torch.float32 and embeddings.device.type == "cpu"
    np.testing.assert_array_equal(embeddings.numpy(), session.embed(images))


def test_what_speaks_dlpack_is_read_where_it_is(session, images):
    class Foreign:
        def __dlpack__(self, **options):
            return torch.from_numpy(images).__dlpack__(**options)

        def __dlpack_device__(self):
            return torch.from_numpy(images).__dlpack_device__()

    for foreign in (images, Foreign()):
        assert require_at_hand(foreign, "cpu").data_ptr() == images.ctypes.data
        embeddings = session.embed_tensor(foreign).numpy()
        np.testing.assert_array_equal(embeddings, session.embed(images))


def test_embeddings_are_written_where_they_are_wanted(session, images):
    store = torch.full((len(images) + 2, session.dim), 7.0)
    run_in_place(session._session, torch.from_numpy(images), store[1:-1])
    np.testing.assert_array_equal(store[1:-1].numpy(), session.embed(images))
    assert (store[[0, -1]] == 7).all()


@pytest.mark.parametrize("count", [0, 1, 256, 540])
def test_any_number_of_images(session, images, count):
    many = np.resize(images, (count, 16, 16, 3))
    embeddings = session.embed_tensor(torch.from_numpy(many)).numpy()
    np.testing.assert_array_equal(embeddings, session.embed(many))


def test_a_part_of_a_tensor_is_read_from_its_start(session, images):
    part = torch.from_numpy(images)[3:5]
    embeddings = session.embed_tensor(part).numpy()
    np.testing.assert_array_equal(embeddings, session.embed(images[3:5]))


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_is_not_what_onnxruntime_writes(session, images, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        embeddings = session.embed_tensor(torch.from_numpy(images))
    finally:
        torch.set_default_dtype(before)
    assert embeddings.dtype == torch.float32
    np.testing.assert_array_equal(embeddings.numpy(), session.embed(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.bool])
def test_a_wrong_dtype(session, dtype):
    with pytest.raises(TypeError, match=f"uint8 .* but got {dtype}"):
        session.embed_tensor(torch.zeros(2, 16, 16, 3, dtype=dtype))


def test_a_wrong_shape(session):
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"\(B, 16, 16, 3\) but .*channels come last"):
        session.embed_tensor(images)


def test_memory_with_gaps(session, images):
    with pytest.raises(ValueError, match=r"contiguous but got strides .*contiguous\("):
        session.embed_tensor(torch.from_numpy(images)[:, :, ::2])


def test_another_device(session):
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8, device="meta")
    with pytest.raises(ValueError, match=r"on cpu, where .* but got meta; move them"):
        session.embed_tensor(images)


def test_what_does_not_speak_dlpack(session):
    with pytest.raises(TypeError, match=r"`__dlpack__`.* but got list"):
        session.embed_tensor([[1, 2], [3, 4]])
