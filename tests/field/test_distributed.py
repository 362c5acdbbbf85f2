"""Two processes with half a batch each keep the field of one with the whole batch."""

import pytest
import torch
from field_processes import LENGTH, run


@pytest.fixture(scope="module", params=["linear", "log-linear"])
def runs(tmp_path_factory, request):
    mixture = request.param
    folder = tmp_path_factory.mktemp("processes")
    processes = {"strategy": "ddp_spawn", "devices": 2, "max_epochs": 3}
    field = run(folder, {"batch_size": 6}, mixture, **processes)
    one, two = (
        torch.load(folder / f"{rank}-of-2.pt", weights_only=True) for rank in range(2)
    )
    joint = [
        half + other for half, other in zip(one["batches"], two["batches"], strict=True)
    ]
    for batch in joint:
        assert len(batch) == 12  # Lightning's DistributedSampler repeats a sample
        assert set(batch) == set(range(LENGTH))
    run(folder, {"batch_sampler": joint}, mixture, max_epochs=1)
    whole = torch.load(folder / "0-of-1.pt", weights_only=True)
    return field, one, two, whole


def test_every_process_has_the_same_field_after_every_step(runs):
    _, one, two, _ = runs
    assert len(one["states"]) == len(two["states"]) == 3
    for state, other in zip(one["states"], two["states"], strict=True):
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[name]), name


def test_the_field_is_that_of_one_process_with_the_joint_batch(runs):
    _, one, two, whole = runs
    for losses in zip(one["losses"], two["losses"], whole["losses"], strict=True):
        assert sum(losses[:2]) / 2 == pytest.approx(losses[2])
    torch.testing.assert_close(one["weights"], whole["weights"])
    for step, (state, expected) in enumerate(
        zip(one["states"], whole["states"], strict=True), start=1
    ):
        assert state["updates"] == step
        for name in ("ids", "valid", "self_mass", "prior_share"):
            torch.testing.assert_close(state[name], expected[name])
        # It counts comparisons, of which rounding may turn one or two.
        (*found, count), (*sums, every) = (
            each["evidence.nearer"].tolist() for each in (state, expected)
        )
        assert count == every
        assert found == pytest.approx(sums, abs=1.0)
        for name in ("weights", "embeddings"):
            torch.testing.assert_close(
                state[name], expected[name], atol=2e-3, rtol=1e-3
            )


def test_the_starting_process_sees_the_rows_that_training_left(runs):
    field, one, _, _ = runs
    for name in ("ids", "weights", "self_mass"):
        assert torch.equal(getattr(field, name), one["states"][-1][name])
