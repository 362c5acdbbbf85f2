import numpy as np
import pytest
from scipy.linalg import svdvals
from scipy.spatial.distance import pdist
from scipy.stats import entropy, linregress
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from rkdo_plugin.recipes.evaluation import measures
from rkdo_plugin.recipes.evaluation.measures import (
    alignment,
    alpha_req,
    even_uniformity,
    mean_average_precision,
    neighbourhood_accuracy,
    rank_me,
    uniformity,
)


@pytest.fixture(params=[(700, 120), (60, 200)])  # more than a block; fewer than D
def features(request):
    """Features with a mean, and with a spectrum that falls."""
    count, dim = request.param
    scales = np.arange(1, dim + 1) ** -0.7
    return (1 + np.random.default_rng(0).normal(size=(count, dim)) * scales).astype("f")


@pytest.fixture
def labels(features):
    return np.random.default_rng(1).integers(0, 4, len(features))


def test_rank_me_is_the_exponential_of_the_entropy_of_all_singular_values(features):
    expected = np.exp(entropy(svdvals(features.astype(float))))
    assert rank_me(features) == pytest.approx(expected, rel=1e-10)
    assert rank_me(7 * features) == pytest.approx(expected, rel=1e-5)


def test_rank_me_is_the_rank_where_all_singular_values_are_equal():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0]
    assert rank_me(turn[:, :13]) == pytest.approx(13)
    assert rank_me(turn[:, :13] @ turn[:13]) == pytest.approx(13)  # of 40 dimensions


def test_alpha_req_is_a_weighted_fit_to_the_variances_of_pca(features):
    variances = PCA().fit(features.astype(float)).explained_variance_[3:100]
    # All but the last eigenvalue of few images, which is 0.
    variances = variances[variances > 1e-20]
    ranks = np.arange(4, 4 + len(variances))
    x, y, weights = np.log(ranks), np.log(variances), 1 / ranks
    x0, y0 = np.average(x, weights=weights), np.average(y, weights=weights)
    expected = -(weights * (x - x0) * (y - y0)).sum() / (weights * (x - x0) ** 2).sum()
    assert alpha_req(features) == pytest.approx(expected, rel=1e-8)
    # The weights matter, and the constant features do not.
    assert abs(expected + linregress(x, y).slope) > 1e-3
    constant = np.hstack([features, np.ones((len(features), 5))])
    assert alpha_req(constant) == pytest.approx(expected, rel=1e-8)


def test_alpha_req_of_too_few_variances_is_no_number():
    few = np.random.default_rng(0).normal(size=(50, 4))
    assert np.isnan(alpha_req(few)) and np.isnan(alpha_req(np.ones((50, 20))))


def test_alignment_is_the_mean_squared_distance_of_directions(features):
    other = features[::-1]
    distances = np.linalg.norm(normalize(features) - normalize(other), axis=1)
    assert alignment(features, other) == pytest.approx((distances**2).mean(), rel=1e-5)


def test_uniformity_is_of_all_pairs_of_different_images(features):
    distances = pdist(normalize(features.astype(float)))
    expected = np.log(np.exp(-2 * distances**2).mean())
    assert uniformity(features) == pytest.approx(expected, rel=1e-9)
    with_zero = np.vstack([features, np.zeros((1, features.shape[1]))])
    assert uniformity(with_zero) == pytest.approx(
        np.log(np.exp(-2 * pdist(normalize(with_zero.astype(float))) ** 2).mean())
    )


@pytest.mark.parametrize("dim", [2, 3, 64])
def test_even_uniformity_is_that_of_many_random_directions(dim):
    directions = np.random.default_rng(0).normal(size=(4000, dim))
    assert uniformity(directions) == pytest.approx(even_uniformity(dim), abs=2e-3)


def test_mean_average_precision_is_scikit_learns_of_each_query(features, labels):
    queries, wanted = features[:50] + 0.1, np.arange(50) % 5
    queries[3] = 0  # as near to all
    gallery = np.vstack([features, features[:20]])  # images that tie
    classes = np.append(labels, labels[::-1][:20])
    expected = [
        average_precision_score(classes == label, cosines)
        for label, cosines in zip(
            wanted,
            np.round(cosine_similarity(queries.astype(float), gallery), 14),
            strict=True,
        )
        if label < 4  # nobody has class 4
    ]
    found = mean_average_precision(queries, wanted, gallery, classes)
    assert found == pytest.approx(np.mean(expected), rel=1e-6)
    assert 0.2 < found < 0.5
    with pytest.raises(ValueError, match="of classes in the gallery but got none"):
        mean_average_precision(queries, wanted + 9, gallery, classes)


def test_neighbourhood_accuracy_leaves_the_image_itself_out(features, labels):
    search = NearestNeighbors(n_neighbors=7, metric="cosine").fit(features)
    found = search.kneighbors(return_distance=False)  # of the fitted, without itself
    expected = (labels[found] == labels[:, None]).mean()
    assert neighbourhood_accuracy(features, labels, 7) == pytest.approx(expected)
    twice = np.repeat(np.eye(3), 2, axis=0)
    assert neighbourhood_accuracy(twice, np.array([0, 0, 1, 1, 2, 2]), 1) == 1
    assert neighbourhood_accuracy(twice, np.array([0, 1, 0, 1, 0, 1]), 1) == 0
    with pytest.raises(ValueError, match="`count` to be from 1 to 5"):
        neighbourhood_accuracy(twice, np.zeros(6), 6)


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_blocks_change_nothing(features, labels, rows, monkeypatch):
    few, classes = features[:60, :30], labels[:60]

    def all_of_them():
        return [
            rank_me(few),
            alpha_req(few),
            alignment(few, few[::-1]),
            uniformity(few),
            mean_average_precision(few, classes, few + 0.1, classes),
            neighbourhood_accuracy(few, classes),
        ]

    expected = all_of_them()
    monkeypatch.setattr(measures, "BLOCK", rows)
    assert all_of_them() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("measure", [rank_me, alpha_req, uniformity])
def test_what_is_no_matrix_of_numbers_is_refused(measure):
    with pytest.raises(ValueError, match=r"features \(N, D\), N at least"):
        measure(np.ones(3))
    broken = np.ones((5, 3))
    broken[4, 1] = np.nan
    with pytest.raises(ValueError, match="finite features"):
        measure(broken)


def test_views_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"`second` to be of shape \(3, 3\)"):
        alignment(np.eye(3), np.eye(4))
