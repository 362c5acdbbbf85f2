import csv

import torch
from runs import assert_equal, state, train

from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy


def test_nearest_neighbours_on_the_way_change_nothing(
    tmp_path, uninterrupted, settings
):
    run = train(out=str(tmp_path), workers=0, knn_every=2, projector=True, **settings)
    assert_equal(state(tmp_path), state(uninterrupted["simclr"]))
    with (tmp_path / "metrics.csv").open() as file:
        logged = [row["knn"] for row in csv.DictReader(file) if row["knn"]]
    assert len(logged) == 1  # after the second of three epochs
    embed = freeze(run.checkpoint).embed
    images, labels = as_arrays(run.data.test, 28)
    (tensors,) = (tmp_path / "tensorboard").rglob("tensors.tsv")
    shown = [line.split("\t") for line in tensors.read_text().splitlines()]
    expected = embed(images)[: len(shown)]
    torch.testing.assert_close(
        torch.tensor([[float(x) for x in row] for row in shown]),
        torch.from_numpy(expected),
        atol=1e-5,
        rtol=0,
    )
    assert 0.5 < float(logged[0]) <= 1
    assert knn_accuracy(expected, labels[: len(expected)], expected, labels) > 0
