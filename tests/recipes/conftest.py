import pytest
from runs import train


@pytest.fixture(scope="session")
def settings():
    """A run of 3 epochs of 4 steps; it takes a second."""
    return {"epochs": 3, "limit": 256, "batch_size": 64, "progress": False}


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, settings):
    """The folder of a finished run of each recipe."""
    folders = {}
    for recipe in ("simclr", "byol"):
        folders[recipe] = tmp_path_factory.mktemp(recipe)
        train(recipe, out=str(folders[recipe]), workers=0, **settings)
    return folders
