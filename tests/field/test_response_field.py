import numpy as np
import pytest
import scipy.stats
import torch
from fields_by_hand import TEMPERATURE, assert_untouched, small_field, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import DenseField, dense_rows
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin import ResponseField


@st.composite
def steps(draw, num_samples, dim):
    """A few steps' indices, with repetitions, and embeddings."""
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    batches = draw(
        st.lists(
            st.lists(st.integers(0, num_samples - 1), min_size=1, max_size=9),
            min_size=1,
            max_size=6,
        )
    )
    return [
        (torch.tensor(b), torch.randn(len(b), dim, generator=generator))
        for b in batches
    ]


@settings(max_examples=60)
@given(steps(8, 4), st.sampled_from([0.1, 0.5, 1.0]))
def test_with_all_neighbors_it_is_equation_3(batches, coupling):
    field = small_field(7, coupling)
    reference = DenseField(8, 4, coupling, TEMPERATURE)
    for index, z in batches:
        field.update(index, z)
        reference.update(index.tolist(), z.double().numpy())
    np.testing.assert_allclose(dense_rows(field), reference.p, atol=1e-5)


@settings(max_examples=60)
@given(
    steps(8, 4),
    st.integers(1, 6),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from(["exact", "sampled"]),
)
def test_truncated_rows_are_distributions(batches, neighbors, coupling, search):
    field = small_field(neighbors, coupling, search=search, search_samples=3)
    for index, z in batches:
        field.update(index, z)
        total = field.weights.sum(dim=1) + field.self_mass
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert (field.weights >= 0).all()
        assert (field.self_mass >= 0).all()
        assert (field.weights[field.ids < 0] == 0).all()
        for sample, ids in enumerate(field.ids.tolist()):
            filled = [i for i in ids if i >= 0]
            assert len(set(filled)) == len(filled)
            assert sample not in filled


@settings(max_examples=60)
@given(steps(8, 4), st.integers(1, 6), st.sampled_from([0.1, 0.5, 1.0]))
def test_an_update_differs_from_equation_3_by_the_mass_cut_off(
    batches, neighbors, coupling
):
    field = small_field(neighbors, coupling)
    for index, z in batches[:-1]:
        field.update(index, z)
    before = dense_rows(field)
    index, z = batches[-1]
    field.update(index, z)
    reference = DenseField(8, 4, coupling, TEMPERATURE)
    reference.p = before.astype(float)
    reference.seen = field.valid.numpy()
    reference.embeddings = field.embeddings.double().numpy()
    after = dense_rows(field)
    for sample in index.unique().tolist():
        q = reference.q(sample)
        q[np.argsort(-q, kind="stable")[neighbors:]] = 0
        if q.sum() == 0:
            np.testing.assert_array_equal(after[sample], before[sample])
            continue
        mixed = (1 - coupling) * before[sample] + coupling * q / q.sum()
        others = np.delete(mixed, sample)
        cut = others.sum() - np.sort(others)[::-1][:neighbors].sum()
        distance = np.abs(after[sample] - mixed).sum() / 2
        np.testing.assert_allclose(distance, cut, atol=1e-5)
        np.testing.assert_allclose(after[sample, sample], mixed[sample], atol=1e-6)


def test_coupling_0_stores_embeddings_and_moves_no_row():
    field = small_field(3, 0.0)
    field.initialize(torch.randn(8, 5))
    before = dense_rows(field)
    field.update(torch.tensor([1, 2]), torch.randn(2, 4))
    np.testing.assert_array_equal(dense_rows(field), before)
    assert field.valid.tolist() == [i in (1, 2) for i in range(8)]


@pytest.mark.parametrize("search", ["exact", "sampled"])
@pytest.mark.parametrize("rows", [0, 8])
def test_embeddings_without_a_direction_move_no_row(search, rows):
    field = small_field(3, 0.5, search=search, search_samples=3)
    field.update(torch.arange(8), torch.randn(8, 4))
    before = snapshot(field)
    field.update(torch.arange(rows), torch.zeros(rows, 4))
    assert field.updates == 2
    field.updates -= 1
    assert_untouched(field, before)


def test_initial_rows_are_scikit_learns_neighbors():
    features = np.random.default_rng(0).normal(size=(2500, 20))
    field = ResponseField(2500, 4, neighbors=6)  # over two chunks of queries
    field.initialize(features)
    finder = NearestNeighbors(n_neighbors=7, metric="cosine").fit(features)
    distances, ids = finder.kneighbors(features)
    np.testing.assert_array_equal(field.ids, ids[:, 1:])
    q = scipy.special.softmax((1 - distances[:, 1:]) / 0.05, axis=1)
    np.testing.assert_allclose(field.weights, q, atol=1e-5)
    assert (field.self_mass == 0).all()


def test_a_sample_without_features_stays_one_hot():
    features = torch.randn(10, 3)
    features[4] = 0
    field = ResponseField(10, 4, neighbors=3)
    with pytest.warns(UserWarning, match="features of 1 of 10 samples are zero"):
        field.initialize(features)
    assert field.self_mass.tolist() == [float(i == 4) for i in range(10)]
    assert 4 not in field.ids


def test_state_survives_a_file(tmp_path):
    field = small_field(3, 0.5)
    field.fingerprint = "abc"
    field.update(torch.arange(6), torch.randn(6, 4))
    torch.save(field.state_dict(), tmp_path / "field.pt")
    other = small_field(3, 0.5)
    other.load_state_dict(torch.load(tmp_path / "field.pt", weights_only=True))
    assert_untouched(other, snapshot(field))
    assert other.fingerprint == "abc"
    assert other.ids.is_shared()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbors": 8}, "less than `num_samples`, 8, but got 8"),
        ({"neighbors": 0}, "`neighbors` to be at least 1"),
        ({"coupling": 1.5}, "`coupling`"),
        ({"field_weight": -0.1}, "`field_weight`"),
        ({"teacher_temperature": 0.0}, "`teacher_temperature`"),
        ({"search": "fast"}, "`search`"),
        ({"mixture": "cubic"}, "`mixture` to be one of 'linear', 'log_linear'"),
        ({"search_samples": 0}, "`search_samples`"),
        ({"embedding_dtype": torch.int8}, "`embedding_dtype`"),
        ({"dim": 0}, "`dim`"),
    ],
)
def test_options_outside_their_range(options, message):
    with pytest.raises(ValueError, match=message):
        ResponseField(**{"num_samples": 8, "dim": 4, "neighbors": 3, **options})


def test_its_options_are_printed():
    shown = repr(ResponseField(8, 4, neighbors=3, coupling=0.25, field_weight="auto"))
    assert "num_samples=8, dim=4, neighbors=3, coupling=0.25" in shown
    assert "field_weight='auto', search='exact', mixture='linear'" in shown


@pytest.mark.parametrize("mixture", ["linear", "log-linear"])
def test_a_million_samples_fit_in_700_mebibytes(mixture):
    field = ResponseField(1_280_000, 128, neighbors=8, mixture=mixture)
    size = sum(value.numel() * value.element_size() for value in field.buffers())
    assert size < 700 * 2**20
