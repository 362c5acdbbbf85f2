"""Features that a field starts from, against scikit-learn, scikit-image and exports."""

import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from photographs import crops
from PIL import Image
from published_weights import publish_timm, publish_torchvision, without_network
from sklearn.decomposition import PCA

from rkdo_plugin.export import EmbeddingSession, export_onnx, freeze
from rkdo_plugin.field import ResponseField
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.field.features import BATCH, features_by_name, fit_features
from rkdo_plugin.recipes.field.hog import fit_hog
from rkdo_plugin.recipes.field.purity import purity


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", limit=300)


def centred(features):
    features = np.asarray(features, dtype=np.float64)
    return features - features.mean(axis=0)


def gray(data):
    """The training images, in their order."""
    return [np.asarray(data.train[i][0]) for i in range(len(data.train))]


def colored(count, size):
    """Data of colour images (size, size) of noise."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images = [(Image.fromarray(image), 0) for image in pixels]
    return replace(
        load_data("digits"), train=images, test=[], image_size=size, channels=3
    )


def test_pixels_are_those_of_the_training_images_in_their_order(digits):
    expected = centred([image.reshape(-1) for image in gray(digits)])
    features = features_by_name("pixels", digits)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-3)


def test_pca_is_scikit_learns_whitened_pca_up_to_signs():
    data = load_data("digits")
    pixels = np.float64([image.reshape(-1) for image in gray(data)])
    oracle = PCA(64, whiten=True, svd_solver="full").fit_transform(pixels)
    features = features_by_name("pca", data)
    signs = np.sign((features * oracle).sum(axis=0))
    # The last components, which randomized solvers find less exactly, are near ties.
    np.testing.assert_allclose(features * signs, oracle, atol=0.05)
    np.testing.assert_allclose((features * signs)[:, :48], oracle[:, :48], atol=5e-3)


def test_pca_leaves_out_components_that_are_rounding():
    data = load_data("digits", limit=50)  # 50 centred images span 49 dimensions
    features = features_by_name("pca", data)
    assert features.shape == (50, 49)
    np.testing.assert_allclose(features.std(axis=0, ddof=1), 1, rtol=1e-3)


@pytest.mark.parametrize("size", [32, 96, 4, 30])
def test_hog_is_of_images_at_32_pixels_at_most(size):
    data = colored(5, size)
    small = min(size, 32)
    images = [
        np.asarray(image.resize((small, small), Image.Resampling.BILINEAR))
        for image, _ in data.train
    ]
    expected, _ = fit_hog(np.stack(images))
    features = features_by_name("hog", data)
    assert features.shape == (5, (small // 4) ** 2 * 27 + 48)
    np.testing.assert_allclose(features, centred(expected), atol=1e-6)


@pytest.mark.parametrize("bands", [2, 5])
@pytest.mark.parametrize("name", ["pixels", "pca", "hog"])
def test_images_of_several_bands_have_features(name, bands):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 24, 24, bands), dtype=np.uint8)
    data = replace(
        load_data("digits"),
        train=[(image, 0) for image in pixels],
        test=[],
        image_size=24,
        channels=bands,
    )
    features, describe = fit_features(name, data)
    assert len(features) == 40
    again = describe([data.train[i] for i in (3, 1)])
    np.testing.assert_allclose(again, features[[3, 1]], atol=1e-4)


def test_hog_needs_a_cell():
    with pytest.raises(ValueError, match="at least 4 pixels for hog but got 3"):
        features_by_name("hog", colored(5, 3))


def test_large_images_give_as_many_pixels_as_small_ones():
    assert features_by_name("pixels", colored(5, 96)).shape == (5, 32 * 32 * 3)
    assert features_by_name("pixels", colored(5, 20)).shape == (5, 20 * 20 * 3)


@pytest.mark.parametrize(
    ("name", "measured"), [("pixels", 0.974), ("pca", 0.930), ("hog", 0.990)]
)
def test_neighbours_by_features_share_the_class_far_above_chance(name, measured):
    data = load_data("digits")
    features = features_by_name(name, data)
    field = ResponseField(len(features), dim=1)
    field.initialize(torch.from_numpy(features))
    labels = torch.from_numpy(data.train.labels)
    share = float(purity(field.ids, field.weights, labels).mean())
    assert share == pytest.approx(measured, abs=0.01)  # chance is 0.1


def test_features_of_a_run_are_its_encoders(uninterrupted, digits):
    images, _ = as_arrays(digits.train, 28)
    folder = uninterrupted["simclr"]
    expected = centred(freeze(folder / "last.ckpt").embed(images))
    for path in (folder, folder / "last.ckpt"):
        features = features_by_name(str(path), digits)
        np.testing.assert_allclose(features, expected, atol=1e-6)


def test_features_of_an_onnx_file_are_its_embeddings(uninterrupted, digits, tmp_path):
    path = tmp_path / "encoder.onnx"
    export_onnx(freeze(uninterrupted["simclr"] / "last.ckpt"), path)
    images, _ = as_arrays(digits.train, 28)
    expected = centred(EmbeddingSession(path).embed(images))
    features = features_by_name(str(path), digits)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"channel|shape"):
        features_by_name(str(path), colored(5, 28))


def test_an_encoder_of_gray_images_refuses_colour(uninterrupted):
    with pytest.raises(ValueError, match=r"channel|shape"):
        features_by_name(str(uninterrupted["simclr"]), colored(5, 28))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, bool])
def test_features_of_a_file_are_its_rows_centred(dtype, digits, tmp_path):
    matrix = (np.random.default_rng(0).normal(size=(300, 6)) * 3).astype(dtype)
    np.save(tmp_path / "features.npy", matrix)
    features = features_by_name(str(tmp_path / "features.npy"), digits)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, centred(matrix), atol=1e-5)


def with_nan():
    matrix = np.zeros((300, 2))
    matrix[7, 1] = np.nan
    return matrix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((299, 4)), r"features \(300, F\), .* but got \(299, 4\)"),
        (np.zeros((300, 0)), r"features \(300, F\), .* but got \(300, 0\)"),
        (np.zeros(300), r"features \(300, F\), .* but got \(300,\)"),
        (np.full((300, 2), "a"), "to hold numbers but got <U1"),
        (np.zeros((300, 2), complex), "to hold numbers but got complex128"),
        (with_nan(), "to be finite but row 7 is not"),
        (np.full((300, 2), None), "but got Python objects"),
    ],
)
def test_a_file_of_other_features_is_refused(content, message, digits, tmp_path):
    np.save(tmp_path / "features.npy", content)
    with pytest.raises(ValueError, match=message):
        features_by_name(str(tmp_path / "features.npy"), digits)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"\x93NUMPY\x01\x00v\x00{'descr': (".ljust(128),  # a bracket without an end
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    ],
)
def test_a_file_that_is_no_array_is_refused(content, digits, tmp_path):
    (tmp_path / "features.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"features\.npy to be an array of numbers"):
        features_by_name(str(tmp_path / "features.npy"), digits)


def same_images(level):
    """Data of 40 images of one level each, in colour."""
    image = Image.new("RGB", (16, 16), (level,) * 3)
    return replace(
        load_data("digits"), train=[(image, 0)] * 40, test=[], image_size=16, channels=3
    )


@pytest.mark.parametrize("name", ["pixels", "pca", "hog"])
@pytest.mark.parametrize("level", [0, 77])
def test_images_that_are_all_the_same_stay_one_hot(name, level):
    features, describe = fit_features(name, same_images(level))
    assert not features.any()
    assert np.isfinite(describe([(Image.new("RGB", (16, 16), "red"), 0)])).all()
    field = ResponseField(40, dim=1)
    with pytest.warns(UserWarning, match="features of all 40 samples are the same"):
        field.initialize(features)
    assert (field.self_mass == 1).all()
    assert (field.ids == -1).all()


@pytest.mark.parametrize("constant", [0, 1, 1 / 3, 1e6 / 3])
def test_features_that_differ_by_rounding_are_the_same(constant, digits, tmp_path):
    rows = np.full((300, 4), constant, dtype=np.float32)
    rows[7:9] = np.nextafter(rows[7:9], 2 * rows[7:9])
    np.save(tmp_path / "features.npy", rows)
    features = features_by_name(str(tmp_path / "features.npy"), digits)
    assert not features.any()
    rows[5, 1] = constant * 1.001 + 1e-9
    np.save(tmp_path / "features.npy", rows)
    features = features_by_name(str(tmp_path / "features.npy"), digits)
    assert features[5].any()


def test_what_is_no_features_is_refused(digits, tmp_path):
    with pytest.raises(ValueError, match=r"one-hot, pixels, .* but got 'pixel'"):
        features_by_name("pixel", digits)
    with pytest.raises(FileNotFoundError, match=r"last\.ckpt"):
        features_by_name(str(tmp_path), digits)
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        features_by_name(str(tmp_path / "notes.txt"), digits)


@pytest.mark.parametrize("name", ["pixels", "pca", "hog", "run"])
def test_other_images_are_described_as_the_training_images(
    name, digits, uninterrupted, tmp_path
):
    path = str(shutil.copytree(uninterrupted["simclr"], tmp_path / "run"))
    features, describe = fit_features(path if name == "run" else name, digits)
    again = describe([digits.train[i] for i in (3, 1, 4)])
    np.testing.assert_allclose(again, features[[3, 1, 4]], atol=1e-4)
    assert np.abs(features.mean(axis=0)).max() < 1e-3


def flowers(count, size):
    """Data of crops of two photographs."""
    images = [(Image.fromarray(crop), 0) for crop in crops(count, size)]
    return replace(
        load_data("digits"), train=images, test=[], image_size=size, channels=3
    )


def embeddings_of(network, data, size, mean, std):
    """A network's directions for images of its own size, one image at a time."""
    rows = []
    for index in range(len(data.train)):
        image = data.train[index][0].convert("RGB")
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
            :, None, None
        ]
        with torch.no_grad():
            rows.append(torch.nn.functional.normalize(network(pixels[None]))[0])
    return centred(torch.stack(rows).numpy())


def test_features_of_timms_network_read_images_as_its_weights_do(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    network = publish_timm(tmp_path, monkeypatch, "vit_tiny_patch16_224")
    network.reset_classifier(0)
    data = flowers(5, 64)  # whose own mean and deviation are not the network's
    features, describe = fit_features("timm:vit_tiny_patch16_224", data)
    expected = embeddings_of(network, data, 224, [0.5] * 3, [0.5] * 3)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    again = describe([data.train[3]])
    np.testing.assert_allclose(again, features[[3]], atol=1e-5)


@pytest.mark.parametrize("grey", [False, True])
def test_features_of_torchvisions_network_of_colour_and_of_grey(
    grey, tmp_path, monkeypatch, digits
):
    network = publish_torchvision(tmp_path, monkeypatch, "mobilenet_v3_small")
    network.classifier[-1] = torch.nn.Identity()
    data = load_data("digits", limit=40) if grey else flowers(40, 32)  # two batches
    features = features_by_name("torchvision:mobilenet_v3_small", data)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = embeddings_of(network, data, 224, mean, std)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_few_images_are_in_memory_at_a_time(uninterrupted, digits):
    alive, most = weakref.WeakValueDictionary(), []

    class Watched:
        def __len__(self):
            return len(digits.train)

        def __getitem__(self, index):
            image, label = digits.train[index]
            alive[index] = image
            most.append(len(alive))
            return image, label

    features_by_name(str(uninterrupted["simclr"]), replace(digits, train=Watched()))
    assert len(most) == 300
    assert max(most) <= 2 * BATCH


def test_a_pretrained_start_that_cannot_be_downloaded(tmp_path, monkeypatch, digits):
    without_network(tmp_path, monkeypatch)
    with pytest.raises(OSError, match=r"'torchvision:resnet18' but got: .*no route"):
        features_by_name("torchvision:resnet18", digits)
