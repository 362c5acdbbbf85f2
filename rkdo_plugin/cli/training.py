"""The commands of `rkdo`: one typed function each, named as it is typed."""

from pathlib import Path
from typing import Any, Literal


def demo(out: str | None = None, epochs: int = 30, seed: int = 0) -> None:
    """Train, compare, export, verify and embed on scikit-learn's digits.

    Args:
        out: Folder of the results; by default a new one under runs/.
        epochs: Passes over the training images, for each loss.
        seed: Seed of the weights, the order and the augmentation.
    """
    from rkdo_plugin.recipes.training import demo

    demo.run(_unused(Path("runs/demo")) if out is None else Path(out), epochs, seed)


def train(
    recipe: str = "simclr",
    loss: str | None = None,
    data: str = "digits",
    out: str | None = None,
    loss_options: dict[str, Any] | None = None,
    recipe_options: dict[str, Any] | None = None,
    field: str | None = None,
    field_options: dict[str, Any] | None = None,
    encoder: str | None = None,
    epochs: int = 10,
    batch_size: int = 256,
    limit: int | None = None,
    image_size: int | None = None,
    seed: int = 0,
    root: str | None = None,
    workers: int = 2,
    augment: Literal["images", "batches"] = "images",
    precision: str = "32-true",
    accumulate: int = 1,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    sync_batchnorm: bool = False,
    checkpoint_every: int | None = None,
    knn_every: int | None = None,
    projector: bool = False,
    resume: bool = False,
    config: str | None = None,
) -> None:
    """Train a recipe; leaves a run folder with checkpoint, config, metrics and log.

    Args:
        recipe: A registered recipe, as simclr, byol, moco, dino; `rkdo plugins` lists
            them.
        loss: A registered loss, for example rkdo; the recipe's own by default.
        data: digits, fashion-mnist, cifar10, cifar100, stl10 or a folder of images.
        out: The run folder; by default runs/RECIPE-LOSS[-FIELD]-DATA-SEED.
        loss_options: Arguments of the loss, as --loss.temperature 0.2.
        recipe_options: Further arguments of the recipe, as --recipe.clusters 20.
        field: Start of a response field: one-hot, pixels, pca, hog, or the path of a
            model or of features.
        field_options: Options of the field, as --field.coupling 0.1.
        encoder: A registered encoder, for example resnet18, timm:NAME or run:FOLDER;
            the recipe's own by default.
        epochs: Passes over the training images.
        batch_size: Images in memory at a time, over all processes; an incomplete last
            batch is dropped.
        limit: Train on the first so many images only.
        image_size: Pixels that the encoder reads, when not the data's own.
        seed: Seed of the weights, the order and the augmentation.
        root: Folder that holds the data sets.
        workers: Processes that augment images; the result does not depend on it.
        augment: images: Lightly's transforms in the workers; batches: the same on
            tensors, a batch at a time, on the training device.
        precision: Lightning's, for example bf16-mixed or 16-mixed.
        accumulate: Batches whose gradients an optimizer step takes.
        devices: Processes on this machine, one a device.
        num_nodes: Machines.
        strategy: Lightning's, for example ddp.
        sync_batchnorm: Batch norm over all processes, on GPUs.
        checkpoint_every: Save after every so many optimizer steps, not only epochs.
        knn_every: Log the nearest neighbours' accuracy after every so many epochs.
        projector: Fill TensorBoard's embedding projector at the end.
        resume: Continue the run in `out` exactly where it stopped.
        config: A file of options, such as a run's config.yaml; those given here win.
    """
    from rkdo_plugin.recipes.training.train import train

    starts = [] if field is None else [f"field-{Path(field).stem}"]
    names = (recipe, loss or "default", *starts, Path(data).name, str(seed))
    run = train(
        recipe,
        loss,
        data,
        out=out or str(Path("runs", "-".join(names))),
        loss_options=loss_options,
        recipe_options=recipe_options,
        field=field,
        field_options=field_options,
        encoder=encoder,
        epochs=epochs,
        batch_size=batch_size,
        limit=limit,
        image_size=image_size,
        seed=seed,
        root=root,
        workers=workers,
        augment=augment,
        precision=precision,
        accumulate=accumulate,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        sync_batchnorm=sync_batchnorm,
        checkpoint_every=checkpoint_every,
        knn_every=knn_every,
        projector=projector,
        resume=resume,
    )
    if run.recipe.global_rank == 0:
        print(f"trained: {run.checkpoint}")


def evaluate(
    model: str,
    data: str | None = None,
    limit: int | None = None,
    root: str | None = None,
    pixels: bool = False,
) -> None:
    """Score frozen features by nearest neighbours and a linear classifier.

    Clusters are scored beside k-means instead, and a map is drawn into its run folder.

    Args:
        model: A run folder, its checkpoint, or an exported ONNX file.
        data: A data set's name; by default the one that a run was trained on.
        limit: Classifiers see the first so many training images only.
        root: Folder that holds the data sets.
        pixels: Score the raw pixels too; slow where images are large.
    """
    from rkdo_plugin.recipes.data.images import load_data
    from rkdo_plugin.recipes.evaluation import model as features
    from rkdo_plugin.recipes.evaluation.accuracy import evaluate
    from rkdo_plugin.recipes.evaluation.recipe import load_recipe, recipe_report

    recipe = load_recipe(Path(model))
    if recipe is not None:
        if pixels:
            raise ValueError("Expected no --pixels with a recipe that reports itself")
        print(recipe_report(recipe, Path(model), data, root, limit))
        return
    loaded = features.load_model(Path(model))
    name = data or loaded.data
    if name is None:
        raise ValueError(f"Expected `data`, which {model} does not record")
    images = load_data(name, root=root, limit=limit, image_size=loaded.image_size)
    print(
        f"{images.name}: {len(images.train):,} training images, "
        f"{len(images.test):,} test images; one model, no spread"
    )
    rows = {model: loaded.embed} | ({"raw pixels": features.pixels} if pixels else {})
    for row, embed in rows.items():
        scores = evaluate(embed, images)
        print(f"  kNN {scores['knn']:.4f}   linear {scores['linear']:.4f}   {row}")


def inspect_field(
    run: str,
    out: str | None = None,
    root: str | None = None,
    samples: int = 12,
    skip_start: bool = False,
) -> None:
    """Show who is whose neighbour in a run's response field, in figures and a picture.

    Args:
        run: A run folder, trained with --field.
        out: The picture, a PNG; by default field.png in the run folder.
        root: Folder that holds the data sets.
        samples: Rows of the picture: images with their heaviest neighbours.
        skip_start: Do not build the field's start again, to compare with.
    """
    from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field
    from rkdo_plugin.recipes.pictures.field import draw_field

    loaded = load_run_field(Path(run), root)
    report = inspect_field(loaded, start=not skip_start)
    print(report)
    picture = Path(run, "field.png") if out is None else Path(out)
    draw_field(
        picture,
        loaded.field,
        loaded.data.train,
        loaded.data.image_size,
        loaded.labels,
        report.title,
        samples,
    )
    print(f"picture: {picture}")


def benchmark(
    what: Literal["loss", "field", "export"],
    batch_sizes: tuple[int, ...] = (256, 1024, 4096),
    dim: int = 128,
    repetitions: int = 11,
    encoders: tuple[str, ...] = ("resnet18", "resnet50"),
    image_size: int = 224,
    images: int = 8,
    num_samples: tuple[int, ...] = (10_000, 60_000, 240_000, 1_280_000),
) -> None:
    """Measure what a loss costs beside Lightly's NT-Xent, a field, or an export.

    Args:
        what: loss: forward and backward of two views (B, D), on one thread. field:
            a response field's memory, update and draws. export: seconds, size and
            parity of encoders with random weights, and how fast PyTorch and onnxruntime
            run them in each precision, on one thread.
        batch_sizes: loss: values of B; a field's is the first.
        dim: loss and field: D.
        repetitions: Timed passes of each kind.
        encoders: export: registered encoders, for example timm:NAME.
        image_size: export: pixels of the images.
        images: export: images in a timed batch.
        num_samples: field: values of N.
    """
    if what == "field":
        _benchmark_field(num_samples, dim, batch_sizes[0], repetitions)
        return
    if what == "export":
        _benchmark_export(encoders, image_size, images, repetitions)
        return
    from rkdo_plugin.losses.benchmark import loss_costs

    print(f"loss: forward + backward, D = {dim}, one thread, float32")
    print(f"medians of {repetitions} passes, all losses interleaved in one run")
    print(f"{'loss':12}{'B':>6}{'ms':>10}{'/ ntxent':>10}{'peak MiB':>10}")
    for batch_size in batch_sizes:
        for cost in loss_costs(batch_size, dim, repetitions):
            print(
                f"{cost.criterion:12}{cost.batch_size:6}{cost.milliseconds:10.1f}"
                f"{cost.ratio:10.2f}{cost.mebibytes:10.0f}",
                flush=True,
            )


def _benchmark_field(
    sizes: tuple[int, ...], dim: int, batch_size: int, repetitions: int
) -> None:
    from rkdo_plugin.field.benchmark import field_costs

    print(f"response field: D = {dim}, B = {batch_size}, 8 neighbours, one thread")
    print(f"medians of {repetitions} passes (exact: 3), sizes interleaved in one run")
    print(f"{'N':>10}{'MiB':>8}{'sampled ms':>12}{'exact ms':>10}{'draw ms':>9}")
    costs = field_costs(sizes, dim, batch_size, repetitions)
    for cost in costs:
        print(
            f"{cost.num_samples:10,}{cost.mebibytes:8.0f}{cost.sampled:12.1f}"
            f"{cost.exact:10.1f}{cost.draw:9.2f}"
        )
    print(f"sampled, last / first: {costs[-1].sampled / costs[0].sampled:.2f}")


def _benchmark_export(
    encoders: tuple[str, ...], image_size: int, images: int, repetitions: int
) -> None:
    from rkdo_plugin.export.benchmark import encoder_speeds, export_report

    if min(images, repetitions) < 1:
        raise ValueError(
            "Expected --images and --repetitions to be at least 1 but got "
            f"{images} and {repetitions}"
        )
    print(f"crops of scikit-learn's photographs, {image_size} pixels, random weights")
    for encoder in encoders:
        print(f"\n{encoder}: {export_report(encoder, image_size)}", flush=True)
        print(f"batches of {images}, one thread, medians of {repetitions} interleaved")
        print(f"  {'':24}{'ms':>9}{'x eager':>9}{'min cosine':>12}")
        for speed in encoder_speeds(encoder, image_size, images, repetitions):
            print(
                f"  {speed.way:24}"
                + (
                    f" did not run: {speed.fault}"
                    if speed.fault
                    else f"{speed.milliseconds:9.1f}{speed.ratio:9.2f}"
                    f"{speed.cosine:12.6f}"
                ),
                flush=True,
            )


def plugins() -> None:
    """List the plugins, what each contributes, and the skipped ones with the reason."""
    from rkdo_plugin.plugins.create import host

    for plugin in host().plugins:
        print(f"{plugin.name} ({plugin.distribution} {plugin.version})")
        if plugin.skipped:
            print(f"  skipped: {plugin.skipped}")
        for kind, names in plugin.contributes.items():
            print(f"  {kind}: {', '.join(names)}")


def _unused(path: Path) -> Path:
    """The path, or with -2, -3, ... behind it the first that is not there yet."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
