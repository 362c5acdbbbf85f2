"""An encoder and a session with its file embed the same images, and refuse the same."""

import numpy as np
import pytest
import torch

from rkdo_plugin import create_encoder
from rkdo_plugin.export import EmbeddingSession, Encoder, ImageEmbedder, export_onnx
from rkdo_plugin.export.encoder.images import MAX_BATCH


@pytest.fixture(params=["encoder", "session"])
def embedder(request, make_small, small_file) -> ImageEmbedder:
    return make_small() if request.param == "encoder" else EmbeddingSession(small_file)


@pytest.fixture(scope="module")
def any_size(tmp_path_factory) -> dict[str, ImageEmbedder]:
    options = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    encoder = Encoder(create_encoder("small-convnet"), any_size=True, **options)
    path = tmp_path_factory.mktemp("any") / "any.onnx"
    export_onnx(encoder, path)
    return {"encoder": encoder, "session": EmbeddingSession(path)}


def test_both_describe_themselves_alike(make_small, small_file):
    for one in (make_small(), EmbeddingSession(small_file)):
        assert (one.image_size, one.fixed_size, one.any_size) == (16, 16, False)
        assert (one.channels, one.dim, one.normalize) == (3, 96, True)


def test_embeddings_are_those_of_the_formula(embedder, make_small, oracle, images):
    expected = oracle(make_small(), images)
    np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-6)


def test_an_empty_batch(embedder):
    embeddings = embedder.embed(np.zeros((0, 16, 16, 3), np.uint8))
    assert embeddings.shape == (0, 96) and embeddings.dtype == np.float32


def test_any_number_of_images_in_any_memory_layout(embedder, images):
    many = np.tile(images, (60, 1, 1, 1))
    expected = np.tile(embedder.embed(images), (60, 1))
    assert len(many) > 2 * MAX_BATCH
    np.testing.assert_allclose(embedder.embed(many), expected, atol=1e-6)
    np.testing.assert_array_equal(
        embedder.embed(images[::-1, :, ::-1]),
        embedder.embed(images[::-1, :, ::-1].copy()),
    )


def test_images_that_cannot_be_written_to(embedder, images, recwarn):
    fixed = images.copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(embedder.embed(fixed), embedder.embed(images))
    assert len(recwarn) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, bool])
def test_a_wrong_dtype(embedder, images, dtype):
    with pytest.raises(TypeError, match=f"uint8 .* but got {np.dtype(dtype)}"):
        embedder.embed(images.astype(dtype))


@pytest.mark.parametrize("images", [[[0, 0, 0]], "photograph.png", None])
def test_what_is_no_array(embedder, images):
    with pytest.raises(TypeError, match=f"an array .* but got {type(images).__name__}"):
        embedder.embed(images)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 3, 16, 16), "channels come last"),
        ((16, 16, 3), "batch dimension"),
        ((2, 32, 32, 3), ""),
        ((2, 16, 16, 1), ""),
        ((2, 16, 20, 3), ""),
        ((0,), ""),
    ],
)
def test_a_wrong_shape(embedder, shape, hint):
    with pytest.raises(ValueError, match=hint or None) as caught:
        embedder.embed(np.zeros(shape, np.uint8))
    assert "(B, 16, 16, 3)" in str(caught.value) and str(shape) in str(caught.value)


@pytest.mark.parametrize("kind", ["encoder", "session"])
def test_what_is_refused_where_any_size_is_taken(any_size, kind):
    embedder = any_size[kind]
    assert embedder.any_size and embedder.fixed_size is None
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\) but got \(1, 32, 32, 1\)"):
        embedder.embed(np.zeros((1, 32, 32, 1), np.uint8))
    with pytest.raises(ValueError, match=r"but got \(1, 0, 32, 3\)"):
        embedder.embed(np.zeros((1, 0, 32, 3), np.uint8))


def test_a_tensor_is_checked_like_an_array(any_size):
    for shape in ((1, 32, 32, 1), (1, 0, 32, 3)):
        with pytest.raises(ValueError, match=r"\(B, H, W, 3\) but got "):
            any_size["encoder"](torch.zeros(shape, dtype=torch.uint8))


def test_an_encoder_embeds_in_eval_mode_without_gradients_or_autocast(
    make_small, images
):
    encoder = make_small()
    expected = encoder.embed(images)
    part = encoder.backbone.layers[1].train()
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(encoder.embed(images), expected)
        assert torch.is_autocast_enabled("cpu")
    assert part.training and not encoder.backbone.layers[0].training
