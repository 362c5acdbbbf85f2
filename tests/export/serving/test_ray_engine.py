"""The same rows on a local Ray of two workers, whatever happens to them."""

import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import EmbeddingSession, RaySession, embed_images
from rkdo_plugin.export.reading import decoding
from rkdo_plugin.export.reading.folder import Folder
from rkdo_plugin.export.runtime.libraries import nvidia_driver
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
def folder(numbered_images):
    """43 images, of which two cannot be read, and a name that is not UTF-8."""
    folder = numbered_images(43)
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


def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(
    session, folder, whole, tmp_path, monkeypatch
):
    killed = tmp_path / "killed"

    class KilledOnce(Embedder):
        def __call__(self, row):
            if b"20.png" in row["chunk"] and not killed.exists():
                killed.write_text(f"torch: {'torch' in sys.modules}")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(row)

    monkeypatch.setattr(ray_engine, "Embedder", KilledOnce)
    done = embed(session, folder, tmp_path / "ray")
    assert killed.read_text() == "torch: False" and done.images == 41
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


def test_a_gpu_has_decoding_in_tasks_of_its_own(
    small_file, folder, whole, tmp_path, monkeypatch
):
    class OnCPU(Embedder):
        def __init__(self, model, provider, batch_size, pixels):
            assert provider == "cuda" and pixels is None
            super().__init__(model, "cpu", batch_size, pixels)

    monkeypatch.setattr(ray_engine, "Embedder", OnCPU)
    with RaySession(small_file) as session:
        assert session.provider == "cuda" and session.places == 1
        embed(session, folder, tmp_path / "ray")
    same(tmp_path / "ray", whole)


@pytest.mark.skipif(nvidia_driver() is not None, reason="needs a machine without a GPU")
def test_a_provider_that_does_not_load_is_an_error(small_file, folder, tmp_path):
    with (
        RaySession(small_file, "cuda") as session,
        pytest.raises(RuntimeError, match="'cuda' to load but there is no NVIDIA"),
    ):
        embed(session, folder, tmp_path / "ray")
    assert list((tmp_path / "ray").iterdir()) == []


def test_a_worker_that_sees_other_files_is_an_error(session, folder, tmp_path):
    class Elsewhere(Folder):
        def __iter__(self):
            for item in super().__iter__():
                if os.getpid() == driver or item.key != "20.png":
                    yield item

    driver = os.getpid()
    with pytest.raises(RuntimeError, match=r"image 20\.png but they found 21\.png"):
        embed(session, Elsewhere(folder), tmp_path / "ray")
    parts = {path.name for path in (tmp_path / "ray").iterdir()}
    assert parts == {"part-00000.parquet", "part-00001.parquet"}


def test_workers_that_do_not_see_a_file_are_an_error(
    session, folder, tmp_path, monkeypatch
):
    class Blind(Embedder):
        def __call__(self, row):
            row = {"chunk": row["chunk"].replace(b"23.png", b"xx.png", 2)}
            keys, rows, reasons = pickle.loads(super().__call__(row)["chunk"])
            keys = [key.replace("xx", "23") for key in keys]
            return {"chunk": pickle.dumps((keys, rows, reasons))}

    monkeypatch.setattr(ray_engine, "Embedder", Blind)
    with pytest.raises(RuntimeError, match=r"see the files .* not 23\.png: FileNot"):
        embed(session, folder, tmp_path / "ray")


def test_a_worker_that_fails_is_an_error(session, folder, tmp_path):
    class Gone(Folder):
        def __iter__(self):
            if os.getpid() != driver:
                raise FileNotFoundError("gone.tar")
            return super().__iter__()

    driver = os.getpid()
    with pytest.raises(RuntimeError, match=r"(?s)Ray cluster failed: .*gone\.tar"):
        embed(session, Gone(folder), tmp_path / "ray")


@pytest.mark.parametrize("connect", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_command_connects_to_a_cluster_or_starts_one_and_writes_one_file(
    small_file, folder, local, tmp_path, connect
):
    expected = embed_images(local, folder, tmp_path / "local.parquet").output
    output = tmp_path / "ray.parquet"  # the workers start in another folder
    words = ["embed", str(small_file), folder.name, output.name, "--provider", "cpu"]
    words += ["--engine", "ray", "--workers", "1"]
    if connect:
        words += ["--ray-address", ray.get_runtime_context().gcs_address]
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        f"assert main({words}) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    table, other = pq.read_table(output), pq.read_table(expected)
    assert table.drop("vector").equals(other.drop("vector"))
    failed, others = (
        pq.read_table(tmp_path / f"{engine}.failed.parquet").sort_by("path")
        for engine in ("ray", "local")
    )
    assert failed.equals(others)


def test_no_cluster(small_file, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    words = ["embed", str(small_file), str(folder), str(tmp_path / "out")]
    for engine, message in (
        (["--engine", "ray", "--ray-address", address], f"a Ray cluster at {address}"),
        (["--engine", "ray", "--ray-address", "here"], "to be auto or HOST:PORT: here"),
        (["--ray-address", address], "--engine to be ray with --ray-address but got"),
    ):
        assert main([*words, *engine]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert main([*words, "--engine", "ray"]) == 1
    assert "pip install 'rkdo-plugin[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_number_of_actors_out_of_range(session, folder, tmp_path):
    with pytest.raises(ValueError, match="`workers` to be at least 1 but got 0"):
        embed(session, folder, tmp_path / "ray", workers=0)
    assert not (tmp_path / "ray").exists()
