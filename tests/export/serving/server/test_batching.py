"""Requests are run together, in their order, and fail alone."""

import threading

import numpy as np
import pytest

from rkdo_plugin.export.serving.server.batching import Batcher, QueueFullError


@pytest.fixture
def batcher(stub):
    made = []

    def make(**options):
        defaults = {"max_batch": 4, "max_delay": 0, "max_queue": 16}
        made.append(Batcher(stub.embed, **(defaults | options)))
        return made[-1]

    yield make
    stub.may_run.set()
    for each in made:
        each.close()


def images(*values, size=2):
    return np.stack([np.full((size, size, 3), value, np.uint8) for value in values])


def hold(stub, batcher):
    """Keep the encoder busy with an image of its own, so that others wait."""
    stub.may_run.clear()
    first = batcher.submit(images(0))
    assert stub.entered.acquire(timeout=60)
    return first


def values(future):
    return future.result(60)[:, 0].tolist()


def test_requests_that_wait_run_together(stub, batcher):
    busy = batcher()
    first = hold(stub, busy)
    waiting = [busy.submit(images(*each)) for each in ([1], [2, 3], [4], [5])]
    stub.may_run.set()
    assert [values(each) for each in (first, *waiting)] == [[0], [1], [2, 3], [4], [5]]
    assert stub.batches == [1, 4, 1]


def test_a_request_that_does_not_fit_waits_for_the_next_batch(stub, batcher):
    busy = batcher()
    hold(stub, busy)
    waiting = [busy.submit(images(1, 2)), busy.submit(images(3, 4, 5))]
    waiting.append(busy.submit(images(6)))
    stub.may_run.set()
    assert [values(each) for each in waiting] == [[1, 2], [3, 4, 5], [6]]
    assert stub.batches == [1, 2, 4]


def test_a_request_larger_than_a_batch_runs_in_parts(stub, batcher):
    assert values(batcher().submit(images(*range(10)))) == [*range(10)]
    assert stub.batches == [4, 4, 2]


def test_a_batch_is_waited_for_until_it_is_full(stub, batcher):
    patient = batcher(max_delay=600)
    waiting = [patient.submit(images(value)) for value in range(4)]
    assert [values(each) for each in waiting] == [[0], [1], [2], [3]]
    assert stub.batches == [4]


def test_images_of_other_sizes_run_in_other_batches(stub, batcher):
    busy = batcher()
    hold(stub, busy)
    small, large = images(1), images(2, size=3)
    waiting = [busy.submit(each) for each in (small, large, small, large)]
    stub.may_run.set()
    assert [values(each) for each in waiting] == [[1], [2], [1], [2]]
    assert stub.batches == [1, 2, 2]


def test_a_request_that_fails_fails_alone(stub, batcher):
    busy = batcher()
    hold(stub, busy)
    waiting = [busy.submit(images(value)) for value in (1, 13, 2)]
    stub.may_run.set()
    assert values(waiting[0]) == [1] and values(waiting[2]) == [2]
    with pytest.raises(RuntimeError, match="13"):
        waiting[1].result(60)
    assert values(busy.submit(images(3))) == [3]


def test_a_request_that_is_given_up_does_not_run(stub, batcher):
    busy = batcher()
    hold(stub, busy)
    gone, stays = busy.submit(images(1, 1)), busy.submit(images(2))
    assert gone.cancel()
    stub.may_run.set()
    assert values(stays) == [2] and stub.batches == [1, 1]


def test_the_queue_is_bounded_and_places_come_back(batcher):
    full = batcher(max_queue=4)
    with full.accepted(3):
        with pytest.raises(QueueFullError, match="at most 4 images to wait but 3 do"):
            full.accepted(2).__enter__()
        with full.accepted(1):
            pass
    with full.accepted(4):
        pass
    with pytest.raises(ValueError, match="at most 4 images in a request but got 5"):
        full.accepted(5).__enter__()


def test_closing_answers_what_waits(stub, batcher):
    closing = batcher(max_delay=600)
    waiting = closing.submit(images(1))
    closing.close()
    assert values(waiting) == [1]
    with pytest.raises(RuntimeError, match="closed"):
        closing.submit(images(2))


def test_many_threads_get_their_own_embeddings(stub, batcher):
    shared = batcher(max_queue=1000)
    found = {}

    def ask(value):
        found[value] = values(shared.submit(images(value, value)))

    asking = [value for value in range(200) if value != 13]
    threads = [threading.Thread(target=ask, args=(value,)) for value in asking]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {value: [value, value] for value in asking}


def test_what_a_batch_took_is_told(stub, batcher):
    told = []
    measured = batcher(ran=told.append)
    hold(stub, measured)
    waiting = [measured.submit(images(1)), measured.submit(images(2, 3))]
    stub.may_run.set()
    for each in waiting:
        values(each)
    measured.close()
    assert [(ran.images, len(ran.waited)) for ran in told] == [(1, 1), (3, 2)]
    assert all(ran.seconds >= 0 and min(ran.waited) >= 0 for ran in told)
