"""Named data sets are sources of images to embed."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from rkdo_plugin import create_encoder
from rkdo_plugin.cli.main import main
from rkdo_plugin.export import Encoder, export_onnx
from rkdo_plugin.export.encoder.pictures import read_picture
from rkdo_plugin.export.reading.item import opened
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.source import NamedData


def test_images_and_labels_are_those_of_the_data_set():
    source = NamedData("digits:test", ["label"])
    found, expected = list(source), load_data("digits").test
    assert len(found) == source.count() == len(expected)
    for number in (0, 5):
        picture, label = expected[number]
        with opened(found[number].place) as file:
            pixels = np.asarray(read_picture(file, 1))
        np.testing.assert_array_equal(pixels, np.asarray(picture))
        assert (found[number].key, found[number].kept) == (str(number), (label,))
    assert NamedData("digits:train", []).count() == 1437


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("digits:test", ["class"], "the column label but got class"),
        ("digit:test", [], "there is no data named .digit."),
    ],
)
def test_what_is_refused(name, keep, message):
    with pytest.raises(ValueError, match=message):
        NamedData(name, keep)


def test_the_command_embeds_a_named_data_set(tmp_path, capsys):
    backbone = create_encoder("small-convnet", in_channels=1)
    encoder = Encoder(backbone, image_size=28, mean=[0.3], std=[0.3])
    model, output = tmp_path / "encoder.onnx", tmp_path / "digits.parquet"
    export_onnx(encoder, model)
    words = ["embed", str(model), "digits:test", str(output), "--keep", "label"]
    assert main([*words, "--workers", "0"]) == 0
    assert "360 images in" in capsys.readouterr().out
    assert pq.read_schema(output).names == ["row", "vector", "label"]
