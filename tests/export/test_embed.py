import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rkdo_plugin.export import EmbeddingSession, embed_folder


@pytest.fixture
def session(small_file):
    return EmbeddingSession(small_file, provider="cpu")


@pytest.fixture
def folder(tmp_path, images):
    """Nine images, in two levels of folders, beside files that are not images."""
    folder = tmp_path / "images"
    (folder / "b" / "deep").mkdir(parents=True)
    places = ["z.png", "b/y.PNG", "b/deep/x.bmp", *(f"b/{i}.png" for i in range(6))]
    for place, image in zip(places, images, strict=True):
        Image.fromarray(image).save(folder / place)
    (folder / "notes.txt").write_text("not an image")
    return folder


def read(path):
    table = pq.read_table(path)
    return table["path"].to_pylist(), np.stack(table["vector"].to_numpy())


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_paths_and_vectors(session, folder, tmp_path, batch_size):
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output, batch_size=batch_size)
    assert summary.images == 9 and summary.unreadable == ()
    paths, vectors = read(output)
    assert paths == sorted(paths) and len(paths) == 9 and "b/deep/x.bmp" in paths
    pixels = [np.asarray(Image.open(folder / path)) for path in paths]
    np.testing.assert_allclose(vectors, session.embed(np.stack(pixels)), atol=1e-6)
    assert vectors.dtype == np.float32
    schema = pq.read_schema(output)
    assert str(schema.field("vector").type).startswith("fixed_size_list<element: float")
    assert schema.field("vector").type.list_size == 96
    sha = session.metadata["rkdo.sha256"].encode()
    assert schema.metadata[b"rkdo.sha256"] == sha


def test_unreadable_images_are_listed_and_the_others_embedded(
    session, folder, tmp_path
):
    whole = (folder / "z.png").read_bytes()
    (folder / "a_cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "a_text.jpg").write_text("hello")
    (folder / "empty.gif").touch()
    Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)).save(
        folder / "deep.png"
    )
    output = tmp_path / "embeddings.parquet"
    summary = embed_folder(session, folder, output, batch_size=2)
    left_out = [path for path, _ in summary.unreadable]
    assert left_out == ["a_cut.png", "b/a_text.jpg", "deep.png", "empty.gif"]
    assert all(path in str(summary) for path in left_out)
    paths, _ = read(output)
    assert summary.images == len(paths) == 9 and set(left_out).isdisjoint(paths)


def test_folders_without_images(session, tmp_path):
    output = tmp_path / "embeddings.parquet"
    with pytest.raises(NotADirectoryError, match="missing"):
        embed_folder(session, tmp_path / "missing", output)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"Expected images .*empty but found none"):
        embed_folder(session, empty, output)
    (empty / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="found none"):
        embed_folder(session, empty, output)
    (empty / "fake.png").write_text("hello")
    with pytest.raises(ValueError, match=r"none of the 1 images .*fake\.png"):
        embed_folder(session, empty, output)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_older_file_is_kept_unless_asked(session, folder, tmp_path):
    output = tmp_path / "embeddings.parquet"
    output.write_text("precious")
    with pytest.raises(FileExistsError, match="pass overwrite"):
        embed_folder(session, folder, output)
    assert output.read_text() == "precious"
    embed_folder(session, folder, output, overwrite=True)
    assert len(read(output)[0]) == 9


def test_an_interruption_leaves_nothing(session, folder, tmp_path, monkeypatch):
    output = tmp_path / "embeddings.parquet"

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "embed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed_folder(session, folder, output)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_batch_size_below_one(session, folder, tmp_path):
    with pytest.raises(ValueError, match="`batch_size` to be at least 1 but got 0"):
        embed_folder(session, folder, tmp_path / "out.parquet", batch_size=0)
