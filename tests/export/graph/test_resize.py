"""The resize inside a graph equals the host's."""

import numpy as np
import onnx
import pytest
from graphs import run
from onnx import parser
from PIL import Image
from sklearn.datasets import load_sample_image, load_sample_images

from rkdo_plugin.export import EmbeddingSession, export_onnx
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.graph.resize import with_resize

SIDES = [(427, 640), (400, 300), (256, 256), (255, 333), (31, 47), (97, 33), (20, 20)]


def identity(size, channels):
    """A graph that gives its images back."""
    height, width = sides(size)
    shape = f"uint8[batch, {height}, {width}, {channels}]"
    return parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 18]> '
        f"encoder ({shape} image) => ({shape} embedding) "
        "{ embedding = Identity (image) }"
    )


def pictures():
    photograph = load_sample_images().images[0]
    noise = np.random.default_rng(0).integers(0, 256, photograph.shape, dtype=np.uint8)
    return {"photograph": photograph, "noise": noise}


@pytest.mark.parametrize(
    ("size", "channels"),
    [(224, 3), (97, 3), (32, 3), (28, 1), ((128, 64), 3), ((31, 97), 1)],
)
@pytest.mark.parametrize("kind", ["photograph", "noise"])
def test_within_a_grey_level_of_pil(size, channels, kind):
    model = with_resize(identity(size, channels), size, channels)
    for height, width in SIDES:
        picture = Image.fromarray(pictures()[kind][:height, :width])
        picture = picture if channels == 3 else picture.convert("L")
        pixels = np.asarray(picture).reshape(1, height, width, channels)
        expected = resize(picture, size, channels).astype(int)
        off = np.abs(run(model, pixels)[0] - expected)
        assert off.max() <= 1, (height, width)
        assert kind == "noise" or (off > 0).mean() <= 0.02


@pytest.mark.parametrize("surplus", range(6))
def test_the_crop_rounds_half_a_pixel_as_the_host_does(surplus):
    # Resized to its own size, a picture is only cropped.
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8 + surplus, 8, 1), np.uint8)
    for turned in (pixels, pixels.transpose(0, 2, 1, 3)):
        picture = Image.fromarray(turned[0, :, :, 0])
        (got,) = run(with_resize(identity(8, 1), 8, 1), turned)
        np.testing.assert_array_equal(got, resize(picture, 8, 1))


def test_an_encoder_with_its_resize_is_valid_and_embeds_any_size(make_small, oracle):
    encoder = make_small()
    plain = to_graph(encoder)
    before = plain.SerializeToString(deterministic=True)
    model = with_resize(plain, 16, 3)
    assert plain.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == plain.ir_version
    assert model.opset_import == plain.opset_import
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == [
        "image",
        "embedding",
    ]
    photographs = np.stack(load_sample_images().images)
    small = np.stack([resize(Image.fromarray(p), 16, 3) for p in photographs])
    got = run(model, photographs)
    np.testing.assert_allclose(got, oracle(encoder, small), atol=5e-3)
    assert run(model, photographs[:0]).shape == (0, 96)


def test_a_graph_of_other_images_is_refused(make_small):
    with pytest.raises(ValueError, match=r"batch, 24, 24, 3\) but got .*0, 16, 16, 3"):
        with_resize(to_graph(make_small()), 24, 3)


def test_an_export_that_resizes_embeds_as_the_host_does(make_small, tmp_path):
    path = tmp_path / "any.onnx"
    assert export_onnx(make_small(), path, resize=True).passed
    session = EmbeddingSession(path)
    assert session.any_size
    assert session.metadata["rkdo.resize"].startswith("in the graph, as PIL bilinear")
    photograph = load_sample_image("china.jpg")[:300]
    for picture in (photograph, photograph[:, :200], photograph[:16, :16]):
        small = resize(Image.fromarray(picture), 16, 3)
        (expected,) = make_small().embed(small[None])
        (got,) = session.embed(picture[None])
        assert got @ expected >= 1 - 1e-5
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\) but got \(1, 40, 40, 1\)"):
        session.embed(np.zeros((1, 40, 40, 1), np.uint8))
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\)"):
        session.embed(np.zeros((1, 0, 40, 3), np.uint8))
