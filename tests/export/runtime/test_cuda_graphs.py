"""CUDA graphs without CUDA: a session on the CPU replays as CUDA graphs do."""

import threading

import numpy as np
import pytest
import torch

from rkdo_plugin.export import CUDASettings, EmbeddingSession, ProviderError
from rkdo_plugin.export.runtime import cuda_graphs
from rkdo_plugin.export.runtime import session as sessions
from rkdo_plugin.export.runtime.cuda_graphs import CapturedRuns

BATCHES = (4, 1, 16)
IMAGE = (16, 16, 3)


class Replaying:
    """Keeps the first binding of each number, and ignores what is bound later."""

    def __init__(self, session):
        self.session, self.captured, self.threads = session, {}, set()
        self.io_binding = session.io_binding
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.replayed = []

    def run_with_iobinding(self, binding, options):
        self.threads.add(threading.get_ident())
        number = int(options.get_run_config_entry("gpu_graph_id"))
        if number != -1:
            binding = self.captured.setdefault(number, binding)
        self.session.run_with_iobinding(binding)
        self.replayed.append(number)


@pytest.fixture
def plain(small_file):
    return EmbeddingSession(small_file, provider="cpu")


@pytest.fixture
def replaying(plain):
    return Replaying(plain._session)


@pytest.fixture
def session(small_file, plain, replaying):
    session = EmbeddingSession(small_file, provider="cpu")
    session._captured = CapturedRuns(replaying, BATCHES, IMAGE, plain.dim, "cpu")
    session._max_batch = max(BATCHES)
    replaying.replayed.clear()
    return session


def test_the_session_replays(session, plain, images):
    """And every batch gets its own embeddings all the same."""
    for part in (images[:4], images[4:8], images[:1], images[1:2], images[:4]):
        expected = plain.embed(part)
        np.testing.assert_array_equal(session.embed(part), expected)
        found = session.embed_tensor(torch.from_numpy(part))
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [1]),
        (2, [4]),
        (4, [4]),
        (5, [16]),
        (17, [16, 1]),
        (35, [16, 16, 4]),
    ],
)
def test_a_batch_is_filled_up_to_the_next_size(
    session, plain, replaying, images, count, expected
):
    many = np.resize(images, (count, *IMAGE))
    np.testing.assert_allclose(session.embed(many), plain.embed(many), atol=1e-6)
    assert replaying.replayed == expected


def test_every_graph_is_captured_before_the_first_batch(replaying, plain):
    CapturedRuns(replaying, (8, 2, 8), IMAGE, plain.dim, "cpu")
    assert replaying.replayed == [-1, -1, 2, 2, -1, -1, 8, 8]


def test_a_graph_that_replays_something_else_is_found(replaying, plain):
    black = torch.zeros(1, *IMAGE, dtype=torch.uint8)
    stale = replaying.io_binding()
    place = ["cpu", 0, np.uint8, list(black.shape), black.data_ptr()]
    stale.bind_input("image", *place)
    out = torch.zeros(1, plain.dim)
    place = ["cpu", 0, np.float32, list(out.shape), out.data_ptr()]
    stale.bind_output("embedding", *place)
    replaying.captured[1] = stale
    with pytest.raises(RuntimeError, match="an ordinary run but it differs by"):
        CapturedRuns(replaying, (1,), IMAGE, plain.dim, "cpu")


def test_each_run_waits_for_copies_and_each_copy_for_the_run(
    session, replaying, images, monkeypatch
):
    """On a GPU onnxruntime, torch and the caller have a stream each."""
    steps = []
    run = replaying.run_with_iobinding
    monkeypatch.setattr(cuda_graphs, "wait_for_torch", lambda _: steps.append("wait"))
    replaying.run_with_iobinding = lambda *all: steps.append("run") or run(*all)
    session.embed(images[:1])
    assert steps == ["wait", "wait", "run", "wait"]


@pytest.mark.parametrize("outside", [True, False])
def test_inference_mode(small_file, plain, replaying, images, outside):
    session = EmbeddingSession(small_file, provider="cpu")
    with torch.inference_mode(not outside):
        runs = CapturedRuns(replaying, BATCHES, IMAGE, plain.dim, "cpu")
        session._captured = runs
    with torch.inference_mode(outside):
        found = session.embed_tensor(torch.from_numpy(images[:4]))
        embeddings = session.embed(images[:4])
    np.testing.assert_array_equal(embeddings, plain.embed(images[:4]))
    np.testing.assert_array_equal(found.numpy(), embeddings)


def test_any_thread_may_embed(session, plain, replaying, images):
    parts = [np.roll(images, shift, axis=2)[:4] for shift in range(8)]
    found = [np.empty(0)] * len(parts)

    def embed(place):
        for _ in range(20):
            found[place] = session.embed(parts[place])

    threads = [threading.Thread(target=embed, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part, embeddings in zip(parts, found, strict=True):
        np.testing.assert_array_equal(embeddings, plain.embed(part))
    assert len(replaying.threads) == 1


def test_images_that_cannot_be_written_to(session, plain, images):
    fixed = images[:4].copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(session.embed(fixed), plain.embed(fixed))
    gaps = images[::2][:4]
    np.testing.assert_array_equal(session.embed(gaps), plain.embed(gaps))


def test_settings_reach_the_graphs(small_file, plain, replaying, monkeypatch):
    arguments = []
    monkeypatch.setattr(sessions, "open_session", lambda *_: replaying)
    monkeypatch.setattr(cuda_graphs, "CapturedRuns", lambda *all: arguments.extend(all))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    EmbeddingSession(small_file, "cuda")
    assert arguments == []
    settings = CUDASettings(device=2, cuda_graphs=BATCHES)
    EmbeddingSession(small_file, settings)
    assert arguments == [replaying, BATCHES, IMAGE, plain.dim, "cuda:2"]


def test_what_cannot_be_captured_is_said(small_file, replaying, monkeypatch):
    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    settings = CUDASettings(cuda_graphs=BATCHES)
    monkeypatch.setattr(sessions, "open_session", lambda *_: replaying)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProviderError, match="torch finds no GPU to hold the images of"):
        EmbeddingSession(small_file, settings)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda_graphs, "CapturedRuns", fail)
    with pytest.raises(ProviderError, match="CUDA graphs failed: operation not permi"):
        EmbeddingSession(small_file, settings)
