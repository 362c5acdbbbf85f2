import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from idx_files import fashion
from PIL import Image
from sklearn.datasets import load_digits

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays

RANDOM = np.random.default_rng(0)


def test_digits_are_scikit_learns():
    data = load_data("digits")
    train, train_labels = as_arrays(data.train, data.image_size)
    test, test_labels = as_arrays(data.test, data.image_size)
    assert train.shape == (1437, 28, 28, 1)
    assert test.shape == (360, 28, 28, 1)
    assert train.dtype == np.uint8
    # Stratified: every class is split 4 : 1.
    counts = np.bincount(train_labels), np.bincount(test_labels)
    np.testing.assert_allclose(counts[0] / counts[1], 4, rtol=0.05)
    # Each enlarged image is nearest to the original it came from.
    originals = load_digits().images.reshape(1797, -1) * (255 / 16)
    for image, label in zip(test[:50], test_labels[:50], strict=True):
        small = np.asarray(
            Image.fromarray(image[..., 0]).resize((8, 8), Image.Resampling.BOX), float
        )
        nearest = np.square(originals - small.ravel()).sum(axis=1).argmin()
        assert load_digits().target[nearest] == label


@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_mean_and_std_are_those_of_the_training_images(name):
    try:
        data = load_data(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    pixels = as_arrays(data.train, data.image_size)[0] / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 1, 2)), atol=0.005)
    np.testing.assert_allclose(data.std, pixels.std((0, 1, 2)), atol=0.005)


@pytest.mark.parametrize("inside", ["fashion-mnist", "FashionMNIST/raw", "."])
@pytest.mark.parametrize("pack", [False, True])
def test_fashion_mnist_is_read_from_idx_files(tmp_path, inside, pack):
    written = fashion(tmp_path / "root" / inside, pack)
    data = load_data("fashion-mnist", root=str(tmp_path / "root"))
    for part, images in (("train", data.train), ("t10k", data.test)):
        pixels, labels = as_arrays(images, 28)
        np.testing.assert_array_equal(pixels[..., 0], written[part])
        np.testing.assert_array_equal(labels, np.arange(len(labels)))


def test_torchvision_reads_the_same_files_alike(tmp_path):
    fashion(tmp_path / "FashionMNIST" / "raw")
    theirs = torchvision.datasets.FashionMNIST(tmp_path, train=True)
    ours = load_data("fashion-mnist", root=str(tmp_path)).train
    assert len(ours) == len(theirs)
    for (image, label), (their_image, their_label) in zip(ours, theirs, strict=True):
        assert (image.tobytes(), label) == (their_image.tobytes(), their_label)


def test_a_cut_idx_file(tmp_path):
    fashion(tmp_path / "fashion-mnist")
    path = tmp_path / "fashion-mnist" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        load_data("fashion-mnist", root=str(tmp_path))


def test_missing_files_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install") as caught:
        load_data("fashion-mnist", root=str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    for name in ("cifar10", "cifar100", "stl10"):
        with pytest.raises(FileNotFoundError, match="download=True") as caught:
            load_data(name, root=str(tmp_path))
        assert str(tmp_path) in str(caught.value)


def cifar(folder, dataset, label_key):
    """Pickled batches of three images as CIFAR's authors publish them."""
    (folder / dataset.base_folder).mkdir()
    pixels = RANDOM.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    batch = {"data": pixels.reshape(3, -1), label_key: [2, 0, 1]}
    for name, _ in dataset.train_list + dataset.test_list:
        (folder / dataset.base_folder / name).write_bytes(pickle.dumps(batch))
    meta = {dataset.meta["key"]: [f"class {i}" for i in range(100)]}
    (folder / dataset.base_folder / dataset.meta["filename"]).write_bytes(
        pickle.dumps(meta)
    )
    return pixels.transpose(0, 2, 3, 1)


@pytest.fixture
def any_checksum(monkeypatch):
    """Small stand-ins cannot have the md5 sums of the published files."""
    for module in (torchvision.datasets.cifar, torchvision.datasets.stl10):
        monkeypatch.setattr(
            module, "check_integrity", lambda path, md5=None: Path(path).is_file()
        )


@pytest.mark.parametrize(
    ("name", "dataset", "label_key", "batches", "classes"),
    [
        ("cifar10", torchvision.datasets.CIFAR10, "labels", 5, 10),
        ("cifar100", torchvision.datasets.CIFAR100, "fine_labels", 1, 100),
    ],
)
def test_cifar(tmp_path, any_checksum, name, dataset, label_key, batches, classes):
    pixels = cifar(tmp_path, dataset, label_key)
    data = load_data(name, root=str(tmp_path))
    train, labels = as_arrays(data.train, data.image_size)
    np.testing.assert_array_equal(train, np.tile(pixels, (batches, 1, 1, 1)))
    np.testing.assert_array_equal(labels, [2, 0, 1] * batches)
    np.testing.assert_array_equal(as_arrays(data.test, data.image_size)[0], pixels)
    assert (data.channels, data.num_classes) == (3, classes)


def test_stl10(tmp_path, any_checksum):
    folder = tmp_path / torchvision.datasets.STL10.base_folder
    folder.mkdir()
    # The files are column-major: (N, C, W, H), classes from 1.
    pixels = RANDOM.integers(0, 256, (2, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        pixels.tofile(folder / f"{part}_X.bin")
        np.array([10, 1], dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
    for name in ("unlabeled_X.bin", "fold_indices.txt"):
        (folder / name).touch()
    data = load_data("stl10", root=str(tmp_path))
    train, labels = as_arrays(data.train, data.image_size)
    np.testing.assert_array_equal(train, pixels.transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(labels, [9, 0])


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:3],
        lambda content: content[:9],
        lambda content: content[:-9],
        lambda content: b"\1" + content[1:],
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
        lambda content: gzip.compress(b"\0\0\x08"),
        lambda content: gzip.compress(b"\0\0\x08\x03\0\0"),
        lambda content: gzip.compress(b"\0\0\x08\x02" + b"\xff" * 8 + b"x"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, change):
    fashion(tmp_path / "raw", pack=True)
    path = tmp_path / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"ubyte\.gz to be an idx file"):
        load_data("fashion-mnist", root=str(tmp_path / "raw"))
