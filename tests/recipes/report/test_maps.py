import base64
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.report.maps import map_images, map_of, plane


def decoded(url):
    kind, content = url.split(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_the_images_are_test_images_of_all_classes():
    data = load_data("digits")
    images = map_images(data, 40)
    assert np.bincount(images.labels).tolist() == [4] * 10
    assert images.held_out
    pixels = {np.asarray(data.test[n][0]).tobytes() for n in range(len(data.test))}
    assert {decoded(url).tobytes() for url in images.thumbnails} <= pixels


@pytest.mark.parametrize("count", [11, 1001])
def test_too_few_or_too_many_points_are_refused(count):
    with pytest.raises(ValueError, match="0, for no maps, or from 12 to 1000"):
        map_images(load_data("digits"), count)


def test_a_map_and_its_table_say_the_same(short_run):
    images = map_images(load_data("digits"), 60)
    found = map_of(short_run("simclr"), images)
    assert found.method == "t-SNE of 96 features"
    assert found.places.min(axis=0).tolist() == [0, 0]
    assert found.places.max(axis=0).tolist() == [1, 1]
    nearest = NearestNeighbors(n_neighbors=10).fit(found.places)
    others = nearest.kneighbors(return_distance=False)  # each is left out of its own
    shares = (images.labels[others] == images.labels[:, None]).mean(axis=1)
    for label, (count, share) in found.alike.items():
        assert count == 6
        assert share == pytest.approx(shares[images.labels == label].mean())


def test_two_features_are_places_already():
    embeddings = np.random.default_rng(0).normal(size=(30, 2))
    places, method = plane(embeddings, False)
    assert np.array_equal(places, embeddings)
    assert method == "the encoder's own plane"
