"""Clusters of frozen features beside k-means on the same ones, and debiasing ablated.

    python benchmarks/clustering.py digits pixels 0.2 5 [heads]

trains `rkdo train --recipe cluster` with 5 seeds: 60 epochs of digits, or 20 of the
first 10,000 images of Fashion-MNIST, partners from the given field. A run takes about a
minute on one core.
"""

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.cluster import KMeans

from rkdo_plugin.recipes.cluster import Cluster, agreement
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

QUIET = Execution(workers=0, progress=False)
EPOCHS = {"digits": 60, "fashion-mnist": 20}
LIMIT = {"digits": None, "fashion-mnist": 10_000}


def scores(
    data: str, field: str, debias: float, seed: int, heads: int
) -> dict[str, float]:
    """Hungarian accuracy and NMI of clusters and of k-means, on training images."""
    with TemporaryDirectory() as folder:
        settings = RunSettings(
            recipe="cluster",
            data=data,
            field=field,
            loss_options={"debias": debias},
            recipe_options={"heads": heads},
            epochs=EPOCHS[data],
            limit=LIMIT[data],
            seed=seed,
        )
        run = train(settings, Path(folder, "run"), QUIET)
    assert isinstance(run.recipe, Cluster)
    features, clusters, labels = run.recipe.embed(run.data.train, run.data)
    k_means = KMeans(len(run.recipe.sizes), n_init=10, random_state=seed)
    found = agreement(labels, clusters)
    reference = agreement(labels, k_means.fit_predict(features))
    return {
        "clusters": found["accuracy"],
        "k-means": reference["accuracy"],
        "difference": found["accuracy"] - reference["accuracy"],
        "clusters' NMI": found["nmi"],
        "clusters' ARI": found["ari"],
        "k-means' NMI": reference["nmi"],
    }


def main(data: str, field: str, debias: str, seeds: str, heads: str = "4") -> None:
    """Print mean and standard deviation over the seeds."""
    runs = [
        scores(data, field, float(debias), seed, int(heads))
        for seed in range(int(seeds))
    ]
    print(f"{data}, field {field}, debias {debias}, {heads} heads, {seeds} seeds")
    for name in runs[0]:
        values = [run[name] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        shown = " ".join(f"{value:.4f}" for value in values)
        print(f"  {name:14} {statistics.mean(values):.4f} +- {spread:.4f}  ({shown})")


if __name__ == "__main__":
    main(*sys.argv[1:])
