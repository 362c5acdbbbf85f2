"""How many neighbours by each descriptor share the class, before any training.

    python benchmarks/descriptors.py [DATA ...]

DATA is fashion-mnist, digits, cifar10 or a folder of images; the first two by default.
Prints a row of Markdown for each descriptor: the share of the 8 nearest neighbours that
are of the image's own class, on 10,000 training images drawn evenly from all classes,
and the kNN accuracy of the raw features on the test images.
"""

import sys

import torch

from rkdo_plugin import ResponseField
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import labels_of
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.field.features import fit_features
from rkdo_plugin.recipes.field.purity import purity

DESCRIPTORS = ("pixels", "pca", "hog")
DATA = ("fashion-mnist", "digits")
LIMIT = 10_000
HEADER = """\
| data | descriptor | numbers | purity of 8 neighbours | kNN, % |
|---|---|---|---|---|"""


def row(name: str, data: ImageData) -> str:
    """Measure one descriptor."""
    features, describe = fit_features(name, data)
    assert describe is not None
    labels = labels_of(data.train)
    field = ResponseField(len(features), dim=1, neighbors=8)
    field.initialize(features)
    equal = torch.ones_like(field.weights)
    share = purity(field.ids, equal, torch.from_numpy(labels)).nanmean()
    test = describe(data.test)
    accuracy = knn_accuracy(features, labels, test, labels_of(data.test))
    return (
        f"| {data.name}, {len(features):,} | {name} | {features.shape[1]} "
        f"| {share:.3f} | {100 * accuracy:.2f} on {len(test):,} |"
    )


def main(names: list[str]) -> None:
    """Print the table."""
    print(HEADER, flush=True)
    for name in names or DATA:
        data = load_data(name, limit=LIMIT)
        for descriptor in DESCRIPTORS:
            print(row(descriptor, data), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
