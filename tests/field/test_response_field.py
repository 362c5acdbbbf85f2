import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import DenseField, dense_rows
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin import ResponseField

TEMPERATURE = 0.2


def snapshot(field):
    return {name: value.clone() for name, value in field.named_buffers()}


def assert_untouched(field, before):
    for name, value in field.named_buffers():
        assert torch.equal(value, before[name]), name


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


def small_field(neighbors, coupling, **options):
    return ResponseField(
        8,
        4,
        neighbors=neighbors,
        coupling=coupling,
        teacher_temperature=TEMPERATURE,
        embedding_dtype=torch.float32,
        **options,
    )


@settings(deadline=None, max_examples=60)
@given(steps(8, 4), st.sampled_from([0.1, 0.5, 1.0]))
def test_with_all_neighbors_it_is_equation_3(batches, coupling):
    field = small_field(7, coupling)
    reference = DenseField(8, 4, coupling, TEMPERATURE)
    for index, z in batches:
        field.update(index, z)
        reference.update(index.tolist(), z.double().numpy())
    np.testing.assert_allclose(dense_rows(field), reference.p, atol=1e-5)


@settings(deadline=None, max_examples=60)
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


@settings(deadline=None, max_examples=60)
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
    field.initialize(features)
    assert field.self_mass.tolist() == [float(i == 4) for i in range(10)]
    assert 4 not in field.ids


def test_embeddings_that_cancel_leave_their_sample_as_it_was():
    field = small_field(3, 0.5)
    z = torch.randn(1, 4)
    before = snapshot(field)
    field.update(torch.tensor([2, 2]), torch.cat([z, -z]))
    before["updates"] += 1
    assert_untouched(field, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_embeddings_of_any_dtype(dtype):
    index, z = torch.arange(8, dtype=torch.int32), torch.randn(8, 4).to(dtype)
    field, expected = small_field(3, 0.5), small_field(3, 0.5)
    field.update(index, z)
    expected.update(index, z.float())
    assert_untouched(field, snapshot(expected))


def test_partners_follow_the_mixed_row():
    field = ResponseField(6, 4, neighbors=3, field_weight=0.5)
    field.initialize(torch.randn(6, 5, generator=torch.manual_seed(1)))
    field.self_mass[0] = 0.4
    field.weights[0] *= 0.6
    draws = 40_000
    generator = torch.Generator().manual_seed(0)
    partners = field.sample(torch.zeros(draws, dtype=torch.int64), generator)
    expected = np.zeros(6)
    expected[field.ids[0].long()] = 0.5 * field.weights[0]
    expected[0] = 1 - 0.5 * 0.6
    counts = np.bincount(partners, minlength=6)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    # Seeded: a wrong distribution of this size gives a p-value of about 0.
    frequencies = expected[possible] / expected.sum() * draws
    assert scipy.stats.chisquare(counts[possible], frequencies).pvalue > 0.001


@pytest.mark.parametrize(("weight", "alone"), [(0.0, 1.0), (1.0, 0.0)])
def test_field_weight_at_its_ends(weight, alone):
    field = ResponseField(50, 4, field_weight=weight)
    field.initialize(torch.randn(50, 5))
    index = torch.arange(50)
    assert (field.sample(index) == index).float().mean() == alone


def test_draws_repeat_with_their_generator():
    field = ResponseField(50, 4)
    field.initialize(torch.randn(50, 5))
    index = torch.arange(50)
    one, two = (field.sample(index, torch.manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)


def test_row_entropy_is_scipys():
    field = small_field(3, 0.5)
    field.update(torch.arange(8), torch.randn(8, 4))
    np.testing.assert_allclose(
        field.row_entropy(), scipy.stats.entropy(dense_rows(field), axis=1), atol=1e-5
    )


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
    ("change", "message"),
    [
        ({"format": 2}, "saved by a newer version"),
        ({"num_samples": 9}, "num_samples 8 but it has 9"),
        ({"dim": 5}, "dim 4 but it has 5"),
        ({"neighbors": 2}, "neighbors 3 but it has 2"),
        ({"fingerprint": "other"}, "the data set is another"),
    ],
)
def test_another_fields_state_is_refused(change, message):
    saved = small_field(3, 0.5)
    saved.update(torch.arange(6), torch.randn(6, 4))
    state = saved.state_dict()
    state["_extra_state"] |= {"fingerprint": "own"} | change
    field = small_field(3, 0.5)
    field.fingerprint = "own"
    before = snapshot(field)
    with pytest.raises(ValueError, match=message):
        field.load_state_dict(state)
    assert_untouched(field, before)


def test_a_field_that_is_not_whole_is_refused():
    state = small_field(3, 0.5).state_dict()
    del state["weights"]
    with pytest.raises(ValueError, match="lacks"):
        small_field(3, 0.5).load_state_dict(state)


NAN = torch.full((1, 4), torch.nan)


@pytest.mark.parametrize(
    ("index", "embeddings", "message"),
    [
        ([8], torch.ones(1, 4), r"values in \[0, 8\) but got 8"),
        ([-1], torch.ones(1, 4), r"values in \[0, 8\) but got -1"),
        ([0.5], torch.ones(1, 4), "to hold integers"),
        ([[1]], torch.ones(1, 4), "to hold integers"),
        ([1], torch.ones(1, 5), r"shape \(1, 4\)"),
        ([1, 2], torch.ones(1, 4), r"shape \(2, 4\)"),
        ([1], NAN, "finite but got nan in row 0"),
        ([1], NAN * torch.inf, "finite"),
        ([1], torch.full((1, 4), 1e300, dtype=torch.float64), "finite but got inf"),
    ],
)
def test_bad_steps_leave_the_field_as_it_was(index, embeddings, message):
    field = small_field(3, 0.5)
    field.update(torch.arange(8), torch.randn(8, 4))
    before = snapshot(field)
    with pytest.raises(ValueError, match=message):
        field.update(torch.tensor(index), embeddings)
    assert_untouched(field, before)


@pytest.mark.parametrize(
    "features", [torch.ones(7, 3), torch.ones(8), torch.ones(8, 0), NAN.expand(8, 4)]
)
def test_bad_features_leave_the_field_as_it_was(features):
    field = small_field(3, 0.5)
    before = snapshot(field)
    with pytest.raises(ValueError, match="Expected `features`"):
        field.initialize(features)
    assert_untouched(field, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbors": 8}, "less than `num_samples`, 8, but got 8"),
        ({"neighbors": 0}, "at least 1"),
        ({"coupling": 1.5}, "`coupling`"),
        ({"field_weight": -0.1}, "`field_weight`"),
        ({"teacher_temperature": 0.0}, "`teacher_temperature`"),
        ({"search": "fast"}, "`search`"),
        ({"search_samples": 0}, "`search_samples`"),
        ({"embedding_dtype": torch.int8}, "`embedding_dtype`"),
        ({"dim": 0}, "`dim`"),
    ],
)
def test_options_outside_their_range(options, message):
    with pytest.raises(ValueError, match=message):
        ResponseField(**{"num_samples": 8, "dim": 4, "neighbors": 3, **options})


def test_embeddings_in_a_file_outlive_the_field(tmp_path):
    options = {"embeddings_file": tmp_path / "bank", "embedding_dtype": torch.float32}
    z = torch.nn.functional.normalize(torch.randn(20, 4), dim=1)
    field = ResponseField(20, 4, **options)
    field.update(torch.arange(20), z)
    state = field.state_dict()
    torch.testing.assert_close(ResponseField(20, 4, **options).embeddings, z)
    plain = ResponseField(20, 4, embedding_dtype=torch.float32)
    plain.load_state_dict(state)
    torch.testing.assert_close(plain.embeddings, z)
    with pytest.raises(ValueError, match="to hold 336 bytes"):
        ResponseField(21, 4, **options)


def test_a_million_samples_fit_in_700_mebibytes():
    field = ResponseField(1_280_000, 128, neighbors=8)
    size = sum(value.numel() * value.element_size() for value in field.buffers())
    assert size < 700 * 2**20
