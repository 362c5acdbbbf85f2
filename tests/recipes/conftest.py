import functools

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


@pytest.fixture(scope="session")
def run_with_field(tmp_path_factory):
    """The folder of a run on the first 200 digits, made once for each start."""

    @functools.cache
    def run(start, epochs, **options):
        return train(
            loss="icon",
            out=str(tmp_path_factory.mktemp(start)),
            epochs=epochs,
            limit=200,
            batch_size=64,
            workers=0,
            field=start,
            field_options=options,
        ).folder

    return run


@pytest.fixture(scope="session")
def short_run(tmp_path_factory):
    """The folder of a run of 2 epochs on 256 digits, made once for each recipe."""

    @functools.cache
    def run(recipe):
        return train(
            recipe,
            out=str(tmp_path_factory.mktemp(recipe)),
            epochs=2,
            limit=256,
            batch_size=64,
            workers=0,
            progress=False,
        ).folder

    return run
