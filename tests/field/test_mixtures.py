"""The log-linear recursion; test_response_field.py has the linear one's tests."""

import copy

import numpy as np
import pytest
import torch
from fields_by_hand import TEMPERATURE, assert_untouched, small_field, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense_log_linear, dense_rows

from rkdo_plugin import ResponseField

N, K = 40, 5
SEARCHES = [{"search": "exact"}, {"search": "sampled", "search_samples": N}]


def log_linear(coupling=0.5, **options):
    return ResponseField(
        N,
        6,
        neighbors=K,
        coupling=coupling,
        teacher_temperature=TEMPERATURE,
        embedding_dtype=torch.float32,
        **{"mixture": "log-linear"} | options,
    )


def vectors(dim, seed):
    return np.random.default_rng(seed).normal(size=(N, dim))


@pytest.mark.parametrize("couplings", [[0.5], [0.3, 0.05, 0.6], [0.2] * 8])
@pytest.mark.parametrize("search", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_dense_recursion_cut_to_k(couplings, search, seed):
    phi, z = vectors(20, seed), vectors(6, 10 + seed)
    field = log_linear(**search)
    field.initialize(phi)
    for coupling in couplings:
        field.update(torch.arange(N), torch.tensor(z), coupling)
    expected = dense_log_linear(phi, z, couplings, TEMPERATURE, K)
    np.testing.assert_allclose(dense_rows(field), expected, atol=2e-3)
    # What it is not: the linear mixture, far beyond that tolerance.
    linear = log_linear(mixture="linear", **search)
    linear.initialize(phi)
    for coupling in couplings:
        linear.update(torch.arange(N), torch.tensor(z), coupling)
    assert np.abs(dense_rows(linear) - expected).max() > 0.05


def test_the_samples_that_were_not_seen_yet_leave_no_trace():
    phi, z = vectors(20, 0), vectors(6, 1)
    field = log_linear()
    field.initialize(phi)
    for epoch in range(3):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(8):
            field.update(index, torch.tensor(z)[index], 0.3)
    # The rows that moved before all were seen have moved since.
    expected = dense_log_linear(phi, z, [0.3] * 3, TEMPERATURE, K)
    np.testing.assert_allclose(dense_rows(field), expected, atol=2e-3)


def test_a_neighbor_that_was_not_seen_counts_as_at_cosine_0():
    phi, z = vectors(20, 0), vectors(6, 1)
    field = log_linear()
    field.initialize(phi)
    before = field.ids[0].tolist()
    index = torch.tensor([0, 1, before[0]])
    field.update(index, torch.tensor(z)[index], 0.4)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (phi, z)]
    sums = {
        j: 0.6 * unit[0][0] @ unit[0][j]
        + 0.4 * (unit[1][0] @ unit[1][j] if j in index else 0)
        for j in {1, *before}
    }
    nearest = sorted(sums, key=sums.get, reverse=True)[:K]
    assert field.ids[0].tolist() == nearest
    weights = np.exp([sums[j] / TEMPERATURE for j in nearest])
    np.testing.assert_allclose(field.weights[0], weights / weights.sum(), atol=2e-3)


def test_the_history_of_similarities_is_the_latest():
    phi, z, later = vectors(20, 0), vectors(6, 1), vectors(6, 2)
    field, direct = log_linear(), log_linear()
    for one in (field, direct):
        one.initialize(phi)
    field.update(torch.arange(N), torch.tensor(z), 0.5)
    field.update(torch.arange(N), torch.tensor(later), 0.5)
    direct.update(torch.arange(N), torch.tensor(later), 0.75)
    for name in ("ids", "weights", "self_mass", "prior_share", "embeddings"):
        assert torch.equal(getattr(field, name), getattr(direct, name))


@st.composite
def steps(draw):
    """A few steps' indices, with repetitions, couplings, and embeddings."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    index = st.lists(st.integers(0, 7), min_size=1, max_size=9)
    coupling = st.sampled_from([0.0, 0.1, 0.5, 1.0])
    drawn = draw(st.lists(st.tuples(index, coupling), min_size=1, max_size=6))
    features = torch.randn(8, 5, generator=generator)
    features[draw(st.integers(0, 7))] = 0
    batches = [
        (torch.tensor(ids), torch.randn(len(ids), 4, generator=generator), a)
        for ids, a in drawn
    ]
    return features, batches


@settings(max_examples=100)
@given(
    steps(),
    st.integers(1, 7),
    st.sampled_from([1e-4, 0.2]),
    st.sampled_from(["exact", "sampled"]),
)
def test_rows_are_distributions(drawn, neighbors, temperature, search):
    features, batches = drawn
    options = {"mixture": "log-linear", "search": search, "search_samples": 3}
    field = small_field(neighbors, 0.5, **options)
    field.teacher_temperature = temperature
    field.initialize(features)
    empty = int((~features.any(dim=1)).nonzero())
    share = torch.ones(8)
    for index, z, coupling in batches:
        field.update(index, z, coupling)
        moved = index.unique()
        moved = moved[(moved != empty) & (field.valid.sum() > 1)]
        share[moved] *= 1 - coupling
        total = field.weights.sum(dim=1) + field.self_mass
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert (field.weights >= 0).all()
        assert (field.weights[:, :-1] >= field.weights[:, 1:]).all()
        assert (field.weights[field.ids < 0] == 0).all()
        assert field.self_mass.tolist() == [float(i == empty) for i in range(8)]
        for sample, ids in enumerate(field.ids.tolist()):
            filled = [i for i in ids if i >= 0]
            assert len(set(filled)) == len(filled)
            assert sample not in filled
    if search == "exact":  # the sampled one may meet nobody that was seen
        torch.testing.assert_close(field.prior_share, share)


def test_a_sample_without_features_keeps_its_row():
    phi = vectors(20, 0)
    phi[4] = 0
    field = log_linear()
    field.initialize(phi)
    field.update(torch.arange(N), torch.tensor(vectors(6, 1)))
    assert field.self_mass.tolist() == [float(i == 4) for i in range(N)]
    assert (field.ids[4] == -1).all()
    field.update(torch.tensor([4]), torch.ones(1, 6))  # no row of the step moves
    assert field.prior_share[4] == 1


def test_a_row_waits_until_another_sample_was_seen():
    field = log_linear()
    field.initialize(vectors(20, 0))
    before = snapshot(field)
    field.update(torch.tensor([3]), torch.ones(1, 6))
    for name in ("ids", "weights", "self_mass", "prior_share"):
        assert torch.equal(getattr(field, name), before[name]), name


@pytest.mark.parametrize("search", SEARCHES, ids=lambda options: options["search"])
def test_coupling_0_leaves_the_rows_bit_for_bit(search):
    field = log_linear(coupling=0.0, **search)
    field.initialize(vectors(50, 0))
    before = snapshot(field)
    for seed in (1, 2):
        field.update(torch.arange(N), torch.tensor(vectors(6, seed)))
    for name in ("ids", "weights", "self_mass", "prior", "prior_share"):
        assert torch.equal(getattr(field, name), before[name]), name
    assert field.valid.all()


@pytest.mark.parametrize("samples", [4, 20, N])
@pytest.mark.parametrize("search", ["exact", "sampled"])
def test_coupling_1_is_that_of_the_linear_mixture(search, samples):
    fields = [
        log_linear(1.0, search=search, search_samples=8, mixture=mixture)
        for mixture in ("linear", "log-linear")
    ]
    for field in fields:
        field.initialize(vectors(20, 0))
        for seed in (1, 2):  # with too few seen for a row, and with all of them
            index = torch.arange(samples)
            field.update(index, torch.tensor(vectors(6, seed))[index])
    linear, found = fields
    assert torch.equal(found.ids, linear.ids)
    torch.testing.assert_close(found.weights, linear.weights, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.self_mass, linear.self_mass)


def test_a_start_that_is_one_hot_is_refused():
    field = log_linear()
    field.update(torch.arange(3), torch.ones(3, 6), coupling=0)  # moves no row
    before = snapshot(field)
    with pytest.raises(ValueError, match=r"initialised before .* `initialize`"):
        field.update(torch.arange(3), torch.ones(3, 6))
    assert_untouched(field, before)


def test_it_goes_on_from_a_saved_state():
    field = log_linear(search="sampled", search_samples=8)
    field.initialize(vectors(20, 0))
    field.update(torch.arange(20), torch.tensor(vectors(6, 1)[:20]))
    loaded = log_linear(search="sampled", search_samples=8)
    loaded.load_state_dict(copy.deepcopy(field.state_dict()))
    for one in (field, loaded):
        one.update(torch.arange(10, 30), torch.tensor(vectors(6, 2)[:20]))
    assert_untouched(loaded, snapshot(field))


def test_a_linear_field_keeps_nothing_of_its_features():
    names = {name for name, _ in log_linear(mixture="linear").named_buffers()}
    assert {name for name, _ in log_linear().named_buffers()} - names == {"prior"}


def test_embeddings_in_a_file_that_holds_other_embeddings(tmp_path):
    phi, z = vectors(20, 0), vectors(6, 1)
    fields = []
    for file in (None, tmp_path / "bank"):
        if file is not None:  # what an earlier field left
            log_linear(embeddings_file=file).embeddings.fill_(7)
        field = log_linear(embeddings_file=file)
        field.initialize(phi)
        field.update(torch.arange(9), torch.tensor(z[:9]))
        fields.append(field)
    for name in ("ids", "weights"):
        assert torch.equal(getattr(fields[0], name), getattr(fields[1], name)), name
