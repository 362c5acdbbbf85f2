"""The same rows on a local Ray of two workers, whatever happens to them."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import EmbeddingSession, RaySession, embed_images, open_source
from rkdo_plugin.export.reading import decoding
from rkdo_plugin.export.serving import ray_engine
from rkdo_plugin.export.serving.ray_stages import Embedder

PART, CHUNK = 10, 4  # images


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two workers, and a GPU that is none."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
    )
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.shutdown()


@pytest.fixture
def session(small_file):
    with RaySession(small_file, "cpu") as session:
        yield session
    assert ray.is_initialized()  # it was before


@pytest.fixture
def local(small_file):
    return EmbeddingSession(small_file, "cpu")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", CHUNK)


@pytest.fixture
def folder(tmp_path, images):
    """43 images, of which two cannot be read, and a name that is not UTF-8."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(43):
        image = np.roll(images[number % len(images)], number, axis=1)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:60])
    (folder / "17.png").write_text("no picture")
    (folder / "notes.txt").write_text("no picture")
    if sys.platform == "linux":
        Path(folder, os.fsdecode(b"20\xe9.png")).symlink_to("20.png")
    return folder


def embed(session, source, output, **options):
    return embed_images(
        session, source, output, part_images=PART, batch_size=CHUNK, **options
    )


@pytest.fixture
def whole(local, folder, tmp_path):
    """The folder of an uninterrupted run of the local engine."""
    return embed(local, folder, tmp_path / "local").output


def same(output, expected):
    """The same files, with the same tables, byte for byte but for the vectors."""
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in output.iterdir()) == names
    for name in names:
        table, other = pq.read_table(output / name), pq.read_table(expected / name)
        assert table.schema.equals(other.schema, check_metadata=True)
        if "vector" in table.column_names:
            vectors, others = (
                np.stack(t["vector"].to_numpy(zero_copy_only=False))
                for t in (table, other)
            )
            np.testing.assert_allclose(vectors, others, atol=1e-6)
            table, other = table.drop("vector"), other.drop("vector")
        assert table.equals(other)


def test_the_rows_of_the_local_engine(session, local, folder, whole, tmp_path):
    done = embed(session, folder, tmp_path / "ray")
    same(tmp_path / "ray", whole)
    again = embed(local, folder, whole)  # nothing is left to do
    assert done.images == again.images == 41
    assert done.unreadable == again.unreadable and len(done.unreadable) >= 2
    assert done.others == again.others == ("notes.txt",)
    assert "waited" not in str(done)


class KilledOnce(Embedder):
    """An actor whose process is killed in the middle of the third chunk."""

    def __init__(self, model, provider, batch_size, pixels, file):
        super().__init__(model, provider, batch_size, pixels)
        self.file = file

    def __call__(self, row):
        pass


def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(
    session, folder, whole, tmp_path, monkeypatch
):
    killed = tmp_path / "killed"

    class KilledOnce(Embedder):
        def __call__(self, row):
            if b"20.png" in row["chunk"] and not killed.exists():
                killed.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(row)

    monkeypatch.setattr(ray_engine, "Embedder", KilledOnce)
    done = embed(session, folder, tmp_path / "ray")
    assert killed.exists() and done.images == 41
    same(tmp_path / "ray", whole)


def test_a_job_that_the_other_engine_began(session, local, folder, whole, tmp_path):
    first = (whole / "part-00000.parquet").read_bytes()
    for number in (1, 3):
        (whole / f"part-0000{number}.parquet").unlink()
    before = embed(local, folder, tmp_path / "before").output
    done = embed(session, folder, whole)
    same(whole, before)
    assert done.images == 41 and 0 < done.resumed < 41
    assert (whole / "part-00000.parquet").read_bytes() == first
    (whole / "part-00002.parquet").unlink()
    embed(local, folder, whole)
    same(whole, before)
    assert embed(session, folder, whole).resumed == 41
