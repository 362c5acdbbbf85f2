"""MoCo's queue of keys: what it holds, when it moves, and that it is saved."""

import pytest
import torch
from lightly.loss import NTXentLoss
from torch.utils.checkpoint import checkpoint

from rkdo_plugin import IConLoss, RecursiveLoss, create_loss


def views(seed, rows=4, dim=3):
    return torch.randn(2, rows, dim, generator=torch.manual_seed(seed))


def test_steps_in_a_row_are_those_of_lightly():
    ours = create_loss("moco", temperature=0.2, memory_bank_size=(10, 3))
    theirs = NTXentLoss(0.2, memory_bank_size=(10, 3))
    theirs.memory_bank.bank.copy_(ours.queue.keys)
    for seed in range(2):  # then Lightly's starts again, where ours goes round
        query, key = views(seed)
        results = []
        for criterion in (ours, theirs):
            z = query.clone().requires_grad_()
            loss = criterion(z, key)
            loss.backward()
            results.append((loss.detach(), z.grad))
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    newest = torch.nn.functional.normalize(views(1)[1], dim=1)
    unit = torch.nn.functional.normalize(ours.queue.keys, dim=1)
    torch.testing.assert_close(unit[4:8], newest)


def test_the_oldest_keys_leave_first():
    criterion = create_loss("moco", memory_bank_size=(6, 3))
    steps = [views(seed) for seed in range(3)]
    for query, key in steps:
        criterion(query.requires_grad_(), key).backward()
    kept = torch.cat([key for _, key in steps])[-6:]
    held = {tuple(row) for row in criterion.queue.keys.tolist()}
    assert held == {tuple(row) for row in kept.tolist()}


def test_a_second_call_in_a_step_does_not_see_the_first():
    criterion = create_loss("moco", memory_bank_size=(8, 3))
    before = criterion.queue.keys.clone()
    (q0, k0), (q1, k1) = views(0), views(1)
    alone = criterion(q1, k1)
    first = criterion(q0.requires_grad_(), k0)
    second = criterion(q1.requires_grad_(), k1)
    torch.testing.assert_close(second, alone)
    torch.testing.assert_close(criterion.queue.keys, before)
    (first + second).backward()
    assert criterion.queue.next == 0  # eight keys went round the eight places
    held = {tuple(row) for row in criterion.queue.keys.tolist()}
    assert held == {tuple(row) for row in torch.cat([k0, k1]).tolist()}


def test_evaluation_leaves_the_queue_alone():
    criterion = create_loss("moco", memory_bank_size=(8, 3))
    before = criterion.queue.keys.clone()
    query, key = views(0)
    criterion(query, key)
    with torch.no_grad():
        criterion(query.requires_grad_(), key)
    torch.testing.assert_close(criterion.queue.keys, before)


@pytest.mark.parametrize("over", [False, True])
def test_a_checkpoint_holds_the_queue(over):
    def create():
        row = create_loss("moco", memory_bank_size=(8, 3))
        return RecursiveLoss(row) if over else row

    criterion, resumed = create(), create()
    query, key = views(0)
    criterion(query.requires_grad_(), key).backward()
    resumed.load_state_dict(criterion.state_dict())
    torch.testing.assert_close(resumed(*views(1)), criterion(*views(1)))


def test_own_keys_of_other_anchors_are_no_negatives():
    """A batch of two with a far queue is two losses of one."""
    queue = torch.randn(5, 3, dtype=torch.float64)
    together = IConLoss(candidates="cross", memory_bank_size=(5, 3)).double()
    together.queue.keys.copy_(queue)
    query, key = views(0, rows=2).double()
    losses = [together(query[i : i + 1], key[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(together(query, key), torch.stack(losses).mean())


def test_a_graph_that_is_differentiated_twice_enters_its_keys_once():
    criterion = create_loss("moco", memory_bank_size=(8, 3))
    query, key = views(0)
    loss = criterion(query.requires_grad_(), key)
    loss.backward(retain_graph=True)
    loss.backward()
    assert criterion.queue.next == 4


def test_a_checkpoint_in_memory_computes_with_the_same_queue():
    query, key = views(0)
    grads = []
    for through in (lambda criterion, *z: criterion(*z), checkpoint):
        torch.manual_seed(0)
        criterion = create_loss("moco", memory_bank_size=(8, 3))
        z = query.clone().requires_grad_()
        options = {"use_reentrant": False} if through is checkpoint else {}
        through(criterion, z, key, **options).backward()
        grads.append(z.grad)
        assert criterion.queue.next == 4
    torch.testing.assert_close(*grads)
