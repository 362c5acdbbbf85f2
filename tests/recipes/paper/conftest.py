import pytest

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.paper.images import paper_images
from rkdo_plugin.recipes.paper.protocol import Protocol


@pytest.fixture(scope="session")
def protocol():
    """A protocol that takes a second."""
    return Protocol(
        encoder="small-convnet",
        batch_size=16,
        batches=2,
        epochs=(1, 2),
        seeds=(0, 1),
        evaluated=60,
    )


@pytest.fixture(scope="session")
def images(protocol):
    return paper_images(load_data("digits"), protocol)
