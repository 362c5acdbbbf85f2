import leave_one_out as module
import numpy as np
from held import of_arrays
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier


def flat(images):
    return images.reshape(len(images), -1).astype(np.float64)


def test_is_scikit_learns_weighted_vote_without_the_image_itself(arrays, monkeypatch):
    monkeypatch.setattr(module, "QUERIES", 50)  # parts of 50, 50 and 8 images
    # Noise all over, so that the classes overlap.
    noise = np.random.default_rng(1).integers(0, 56, (72, 32, 32, 3), dtype=np.uint8)
    arrays["x"] = np.where(noise > 48, 255 - arrays["x"], arrays["x"]) + noise
    arrays["y"] = np.roll(arrays["y"], 1)
    found = module.leave_one_out(flat, of_arrays("three", **arrays))
    images = flat(np.concatenate([arrays["x"], arrays["tx"]]))
    labels = np.concatenate([arrays["y"], arrays["ty"]])
    distances = (1 - cosine_similarity(images)).clip(min=0)
    right = []
    for left_out in range(len(images)):
        others = np.arange(len(images)) != left_out
        classifier = KNeighborsClassifier(
            20, metric="precomputed", weights=lambda far: np.exp((1 - far) / 0.1)
        ).fit(distances[np.ix_(others, others)], labels[others])
        own = classifier.predict(distances[left_out, others][None])
        right.append(own[0] == labels[left_out])
    assert 0 < np.mean(right) < 1
    assert found == np.mean(right)
