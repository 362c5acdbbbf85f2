import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image
from runs import train

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import evaluate


def write_images(folder, count, size=(40, 30), level=0):
    """Plain gray images, each one level lighter than the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.new("RGB", size, (level + number,) * 3)
        image.save(folder / f"{number:03}.png")


def levels(images):
    return {image.getpixel((0, 0))[0] for image, _ in images}


def test_classes_are_subfolders_and_every_fifth_image_is_for_testing(tmp_path):
    write_images(tmp_path / "cat", 10, level=0)
    write_images(tmp_path / "dog", 5, level=100)
    data = load_data(str(tmp_path))
    assert levels(data.test) == {4, 9, 104}
    assert levels(data.train) == {0, 1, 2, 3, 5, 6, 7, 8, 100, 101, 102, 103}
    assert [label for _, label in data.train] == [0] * 8 + [1] * 4
    assert (data.image_size, data.channels, data.num_classes) == (30, 3, 2)


def test_train_and_test_folder(tmp_path):
    for part, level in (("train", 0), ("test", 50)):
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, 2, level=level)
    data = load_data(str(tmp_path))
    assert levels(data.train) == {0, 1}
    assert levels(data.test) == {50, 51}


def test_other_classes_for_testing(tmp_path):
    write_images(tmp_path / "train" / "cat", 1)
    write_images(tmp_path / "test" / "dog", 1)
    with pytest.raises(ValueError, match=r"same classes .* \['cat'\] and \['dog'\]"):
        load_data(str(tmp_path))


def test_images_of_any_size_become_arrays_of_one(tmp_path):
    write_images(tmp_path, 3, size=(40, 30))
    write_images(tmp_path, 1, size=(30, 60), level=7)
    pixels, labels = as_arrays(load_data(str(tmp_path), image_size=24).train, 24)
    assert pixels.shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(pixels[:, 5, 5, 0], [7, 1, 2])
    np.testing.assert_array_equal(labels, [-1, -1, -1])


def test_the_centre_is_kept(tmp_path):
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    Image.fromarray(image).save(tmp_path / "wide.png")
    pixels, _ = as_arrays(load_data(str(tmp_path)).train, 10)
    assert (pixels == 200).all()


def test_images_become_arrays_that_are_not_square(tmp_path):
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    Image.fromarray(image).save(tmp_path / "wide.png")
    pixels, _ = as_arrays(load_data(str(tmp_path), image_size=(20, 10)).train, (20, 10))
    assert pixels.shape == (1, 20, 10, 3) and (pixels == 200).all()


def test_photographs_of_a_phone_are_upright(tmp_path):
    upright = np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "phone.png", exif=exif)
    ((image, _),) = load_data(str(tmp_path)).train
    np.testing.assert_array_equal(np.asarray(image), upright)


@pytest.mark.parametrize("classes", [True, False])
def test_pictures_are_known_by_their_content_and_other_files_named(tmp_path, classes):
    folders = [tmp_path / "cat", tmp_path / "dog"] if classes else [tmp_path]
    for folder in folders:
        write_images(folder, 2)
        (folder / "000.png").rename(folder / "0")
        (folder / "notes.txt").write_text("no image")
    data = load_data(str(tmp_path))
    assert len(data.train) == 2 * len(folders)
    assert data.others == tuple(str(folder / "notes.txt") for folder in folders)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_bands_of_satellites_are_measured(tmp_path, suffix):
    generator = np.random.default_rng(0)
    bands = generator.integers(0, 65536, (20, 16, 12, 5)).astype(np.uint16)
    bands[..., 4] = 257  # a band without contrast
    for number, image in enumerate(bands):
        path = tmp_path / f"class{number % 2}" / f"{number:02}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == ".npy":
            np.save(path, image)
        else:
            tifffile.imwrite(
                path, image, photometric="minisblack", planarconfig="contig"
            )
    data = load_data(str(tmp_path))
    assert (data.channels, data.image_size, data.num_classes) == (5, 12, 2)
    pixels = np.stack([image for image, _ in data.train])
    assert pixels.dtype == np.uint8 and pixels.shape == (16, 16, 12, 5)
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 1, 2)) / 255)
    np.testing.assert_allclose(data.std[:4], pixels.std(axis=(0, 1, 2))[:4] / 255)
    assert data.std[4] == 1 / 255
    arrays, _ = as_arrays(data.train, 8)
    assert arrays.shape == (16, 8, 8, 5)


def test_large_images_are_reduced(tmp_path):
    write_images(tmp_path, 1, size=(500, 375))
    assert load_data(str(tmp_path)).image_size == 224


def test_a_folder_without_labels_trains_but_does_not_evaluate(tmp_path):
    write_images(tmp_path / "images", 8, size=(28, 28))
    run = train(
        data=str(tmp_path / "images"),
        out=str(tmp_path / "run"),
        epochs=1,
        batch_size=4,
        workers=0,
        progress=False,
    )
    assert run.checkpoint.is_file()
    with pytest.raises(ValueError, match="at least two classes"):
        evaluate(lambda images: images, run.data)


def test_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images in .* none of its 0 files"):
        load_data(str(tmp_path))


def test_folder_of_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match=r"images in .* none of its 1 files"):
        load_data(str(tmp_path))


def test_class_folder_without_images(tmp_path):
    write_images(tmp_path / "cat", 1)
    (tmp_path / "dog").mkdir()
    with pytest.raises(FileNotFoundError, match="dog"):
        load_data(str(tmp_path))


def test_a_pickle_is_named_before_training(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(OSError, match=r"Expected an image in .*a\.npy but got"):
        load_data(str(tmp_path))


def test_a_text_file_named_png(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(OSError, match=r"cannot identify image file .*a\.png"):
        load_data(str(tmp_path))
