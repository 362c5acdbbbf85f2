"""`rkdo demo`, `rkdo train` and `rkdo evaluate`."""

import os
import warnings
from pathlib import Path

from rkdo_plugin.recipes.training.settings import Execution, RunSettings


def demo(out: str | None = None, epochs: int = 30, seed: int = 0) -> None:
    """Train, compare, export, verify and embed on scikit-learn's digits.

    Args:
        out: Folder of the results; by default a new one under runs/.
        epochs: Number of passes over the training images, for each loss.
        seed: Seed of the weights, the order and the augmentation.
    """
    # Small matrices on few cores: threads cost more than they bring. Torch,
    # scikit-learn and OpenBLAS read this when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rkdo_plugin.recipes.training.demo import run_demo

    run_demo(_unused(Path("runs/demo")) if out is None else Path(out), epochs, seed)


def train(
    settings: RunSettings,
    execution: Execution,
    out: str | None = None,
    resume: bool = False,
    config: str | None = None,
) -> None:
    """Train a recipe; leaves a run folder with checkpoint, config, metrics and log.

    Args:
        settings: All that decides the result.
        execution: How the run is computed.
        out: The run folder; by default runs/RECIPE-LOSS[-FIELD]-DATA-SEED.
        resume: Continue the run in the folder exactly where it stopped.
        config: A file of options, such as a run's config.yaml; those given here win.
    """
    from rkdo_plugin.export.encoder.pictures import listed
    from rkdo_plugin.recipes.training.train import train

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is finished already")  # said below
        run = train(settings, out or _folder(settings), execution, resume=resume)
    if run.recipe.global_rank == 0:
        if run.data.others:
            print(f"not images: {listed(run.data.others)}")
        print(f"{'trained' if run.steps else 'finished already'}: {run.checkpoint}")


def evaluate(
    model: str,
    data: str | None = None,
    limit: int | None = None,
    root: str | None = None,
    seed: int | None = None,
    pixels: bool = False,
) -> None:
    """Score frozen features by nearest neighbours and a linear classifier.

    Retrieval and measures that need no labels follow. Images without classes have the
    latter alone. Some recipes report on themselves instead: clusters are compared with
    k-means, a map is drawn into its run folder.

    Args:
        model: A run folder, its checkpoint, or an exported ONNX file.
        data: A data set's name; by default the one that a run was trained on.
        limit: The classifiers see LIMIT training images only, drawn evenly from all
            classes.
        root: Folder that holds the data sets.
        seed: Seed of the draw; the run's by default.
        pixels: Score the raw pixels too; slow where images are large.
    """
    from rkdo_plugin.recipes.evaluation.report import evaluation_report
    from rkdo_plugin.recipes.evaluation.trained import load_trained

    trained = load_trained(Path(model))
    print(evaluation_report(trained, data, limit, root, seed, pixels=pixels))


def _folder(settings: RunSettings) -> str:
    """The folder of a run that names none."""
    loss, data = settings.loss or "default", Path(settings.data).name
    start = []
    if settings.field is not None:
        # Windows allows no colon in a folder's name.
        start = [f"field-{Path(settings.field).stem.replace(':', '-')}"]
    names = (settings.recipe, loss, *start, data, str(settings.seed))
    return str(Path("runs", "-".join(names)))


def _unused(path: Path) -> Path:
    """The path, or with -2, -3, ... behind it the first that is not there yet."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
