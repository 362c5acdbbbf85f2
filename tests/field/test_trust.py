"""What a field's partners are worth, estimated without labels."""

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rkdo_plugin import ResponseField
from rkdo_plugin.field import trust
from rkdo_plugin.field.trust import (
    nearer_than_itself,
    nearer_than_others,
    returned,
    returned_share,
    trust_of,
)

SEEDS = st.integers(0, 2**31)


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    return normalize(
        torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    )


def clusters(samples: int = 240, count: int = 12, dim: int = 16) -> torch.Tensor:
    """Unit vectors around `count` centres, in turn."""
    centres = unit(count, dim, 0).repeat(samples // count, 1)
    return normalize(centres + 0.1 * unit(samples, dim, 1))


def trained(field: ResponseField, embeddings: torch.Tensor, passes: int = 3) -> float:
    """The trust after passes over views of the data in batches of 40."""
    for number in range(passes):
        views = normalize(embeddings + 0.4 * unit(*embeddings.shape, 100 + number))
        order = torch.randperm(
            len(embeddings), generator=torch.Generator().manual_seed(number)
        )
        for batch in order.split(40):
            field.update(batch, views[batch])
    return field.trust


def auto(samples: int, dim: int, **options) -> ResponseField:
    return ResponseField(samples, dim, coupling=options.pop("coupling", 0.0), **options)


@given(SEEDS, st.integers(2, 12))
def test_comparisons_equal_those_of_a_loop(seed, rows):
    # Halves have exact products, among which some are equal.
    anchors, neighbors, before = (
        (unit(rows, 3, seed + n) * 2).round() / 2 for n in range(3)
    )
    found = nearer_than_itself(anchors, neighbors, before)
    lists = anchors.tolist(), neighbors.tolist(), before.tolist()
    for values, expected in zip(found, oracles.nearer_than_itself(*lists), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-6)
    ahead = nearer_than_others(anchors, neighbors)
    np.testing.assert_allclose(ahead, oracles.nearer_than_others(*lists[:2]), atol=1e-6)


def test_a_large_batch_is_compared_with_a_part_of_it(monkeypatch):
    monkeypatch.setattr(trust, "REFERENCES", 4)
    views = [unit(11, 3, n) for n in range(3)]
    found = nearer_than_itself(*views)
    expected = oracles.nearer_than_itself(*(view.tolist() for view in views), step=3)
    for values, loop in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, loop, atol=1e-6)
    ahead = nearer_than_others(*views[:2])
    lists = [view.tolist() for view in views[:2]]
    np.testing.assert_allclose(ahead, oracles.nearer_than_others(*lists, 3), atol=1e-6)


@given(SEEDS, st.booleans())
def test_likeness_equals_that_of_a_loop(seed, twice):
    field = auto(12, 3, neighbors=1, embedding_dtype=torch.float32)
    field.initialize(np.random.default_rng(seed).standard_normal((12, 5)))
    before = unit(12, 3, seed)
    field.update(torch.arange(12), before)
    assert field.evidence.likeness is None  # no sample was there a pass before
    views = [unit(12, 3, seed + n) for n in range(1, 3 if twice else 2)]
    field.update(torch.arange(12).repeat(len(views)), torch.cat(views))
    anchors = torch.stack(views).mean(dim=0)
    own, share, _ = oracles.nearer_than_itself(
        anchors.tolist(), before[field.ids[:, 0].long()].tolist(), before.tolist()
    )
    expected = oracles.likeness(own, share)
    assert field.evidence.likeness == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "others", "expected"),
    [(22, 10, 0.3), (30, 0, 0.4), (5, 10, 0), (70, 10, 1), (30, 50, 0)],
)
def test_likeness_is_the_share_of_the_way_to_a_second_view(more, others, expected):
    evidence = trust.Evidence()
    evidence.add(torch.full((100,), more / 100), torch.full((100,), others / 100), 1)
    # (P_n - P_o - 100^-1/2) / (1/2 - P_o), in [0, 1]
    assert evidence.likeness == pytest.approx(expected, abs=1e-6)


def test_a_neighbour_that_passes_for_a_second_view_is_wholly_trusted():
    pairs = unit(200, 16, 0).repeat_interleave(2, dim=0)  # the neighbour is the same
    field = auto(400, 16, neighbors=1)
    field.initialize(pairs + 1e-3 * unit(400, 16, 1))
    for step in range(2):
        field.update(
            torch.arange(400), normalize(pairs + 0.3 * unit(400, 16, 2 + step))
        )
    assert field.trust > 0.8


@given(SEEDS)
def test_returned_equals_looking_up_every_edge(seed):
    random = np.random.default_rng(seed)
    ids = np.stack([random.permutation(9)[:3] for _ in range(9)])
    ids[random.random((9, 3)) < 0.3] = -1
    expected = [
        [j >= 0 and i in ids[j].tolist() for j in row] for i, row in enumerate(ids)
    ]
    graph = torch.from_numpy(ids)
    assert returned(graph, torch.arange(9)).tolist() == expected
    edges = int((ids >= 0).sum())
    assert returned_share(graph) == pytest.approx(np.sum(expected) / max(1, edges))


@given(st.floats(0, 1), st.floats(0, 1))
def test_trust_is_a_weight_that_grows_with_both_kinds_of_evidence(close, share):
    weight = trust_of(close, share)
    assert 0 <= weight <= 2 * close
    assert weight <= trust_of(min(1, close + 0.1), share)
    assert weight <= trust_of(close, min(1, share + 0.1))


def test_neighbours_that_the_encoder_finds_near_are_trusted():
    features = clusters()
    field = auto(len(features), 16)
    field.initialize(features)
    assert trained(field, features) > 0.9
    assert field.active_weight == pytest.approx(field.trust)


def test_random_neighbours_are_not_trusted():
    embeddings = clusters()
    field = auto(len(embeddings), 16)
    field.initialize(unit(len(embeddings), 64, seed=5))
    assert trained(field, embeddings) < 0.05
    index = torch.arange(len(embeddings))
    assert (field.sample(index) == index).float().mean() > 0.9


def test_a_graph_of_hubs_is_not_trusted_although_the_encoder_is_near_them():
    features = clusters()
    field = auto(len(features), 16, neighbors=2)
    field.initialize(features)
    hubs = torch.arange(24)  # two in each cluster are everyone's neighbours
    field.ids.copy_((torch.arange(240) % 12)[:, None] + torch.tensor([0, 12]))
    field.ids[hubs] = torch.stack([(hubs + 12) % 24, hubs + 25], dim=1).int()
    field.evidence.restart(field.ids)
    assert trained(field, features) == 0


def test_the_encoders_own_neighbours_are_no_evidence():
    embeddings = clusters()
    field = auto(len(embeddings), 16, coupling=0.5)
    assert field.trust == 0
    assert trained(field, embeddings) == 0
    assert field.self_mass.max() < 1


def test_trust_falls_as_the_encoders_neighbours_replace_the_given_ones():
    features = clusters()
    fixed, moving = (auto(len(features), 16, coupling=a) for a in (0.0, 0.3))
    for field in (fixed, moving):
        field.initialize(features)
    assert trained(moving, features, 6) < 0.4 * trained(fixed, features, 6)
    torch.testing.assert_close(moving.prior_share, torch.full((len(features),), 0.7**6))


def test_constant_features_have_no_trust():
    field = auto(30, 4)
    with pytest.warns(UserWarning, match="all 30 samples are the same"):
        field.initialize(torch.zeros(30, 8))
    assert trained(field, unit(30, 4, 0)) == 0


def test_edges_that_nothing_supports_are_not_followed():
    features = clusters()
    field = auto(len(features), 16, neighbors=1)
    field.initialize(features)
    # Sample 0 gets the furthest neighbour, which has another itself.
    field.ids[0] = int((features @ features[0]).argmin())
    trained(field, features)
    assert field.doubted[0, 0]
    assert not field.doubted[12:].any()
    field.active_weight.fill_(1)
    assert (field.sample(torch.zeros(50, dtype=torch.int64)) == 0).all()


def test_a_weight_that_is_given_doubts_nothing():
    field = auto(240, 16, field_weight=1.0)
    field.initialize(unit(240, 64, seed=5))
    trained(field, clusters())
    assert field.trust < 0.05
    assert not field.doubted.any()
    assert field.active_weight == 1
    index = torch.arange(240)
    assert (field.sample(index) != index).all()


def test_evidence_is_a_mean_over_about_one_pass():
    field = auto(240, 16)
    field.initialize(clusters())
    trained(field, unit(240, 16, seed=3), passes=4)
    disagreed = field.trust
    trained(field, clusters(), passes=4)
    assert disagreed < 0.1
    assert field.trust > 0.8


@pytest.mark.parametrize("start", ["near", "random"])
def test_in_the_first_pass_neighbours_are_compared_with_those_of_others(start):
    embeddings = clusters()
    field = auto(240, 16, neighbors=1, embedding_dtype=torch.float32)
    field.initialize(embeddings if start == "near" else unit(240, 64, seed=5))
    order = torch.randperm(240, generator=torch.Generator().manual_seed(0))
    ahead, stored = [], set()
    for batch in order.split(40):
        met = [i for i in batch.tolist() if int(field.ids[i, 0]) in stored]
        if len(met) > 1:
            near = embeddings[field.ids[met, 0].long()]
            pairs = embeddings[met].tolist(), near.tolist()
            ahead += oracles.nearer_than_others(*pairs)
        field.update(batch, embeddings[batch])
        stored.update(batch.tolist())
    expected = max(0.0, float(np.mean(ahead)) - len(ahead) ** -0.5)
    assert field.evidence.likeness == pytest.approx(expected, abs=1e-5)
    assert field.active_weight == pytest.approx(trust_of(expected, 0.5))
    assert field.trust > 0.9 if start == "near" else field.trust == 0


def test_without_evidence_no_partners_come_from_the_rows():
    field = auto(240, 16)
    field.initialize(clusters())
    index = torch.arange(240)
    assert torch.equal(field.sample(index), index)
    field.update(index, clusters())  # nobody was there a pass before
    assert torch.equal(field.sample(index), index)


def test_a_loaded_field_goes_on_with_its_evidence():
    first, second = (auto(240, 16) for _ in range(2))
    first.initialize(unit(240, 8, seed=2))
    trained(first, clusters())
    second.load_state_dict(first.state_dict())
    assert second.trust == first.trust
    assert trained(second, clusters()) == trained(first, clusters())
    assert torch.equal(second.doubted, first.doubted)


def test_nothing_is_followed_while_warming_up():
    field = auto(240, 16)
    field.initialize(clusters())
    field.follow(warming_up=True)
    trained(field, clusters())
    assert field.active_weight == 0
    field.follow(warming_up=False)
    assert field.active_weight == pytest.approx(field.trust)
