"""`rkdo benchmark`: what a loss, a field or an export costs, and the paper's tables."""

from pathlib import Path
from typing import Literal


def loss(
    batch_sizes: tuple[int, ...] = (256, 1024, 4096),
    dim: int = 128,
    repetitions: int = 11,
) -> None:
    """Time losses beside Lightly's NT-Xent, forward and backward, on one thread.

    Args:
        batch_sizes: Batch sizes B, of two views (B, D).
        dim: D, the size of the embeddings.
        repetitions: Number of timed passes of each loss.
    """
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


def field(
    num_samples: tuple[int, ...] = (10_000, 60_000, 240_000, 1_280_000),
    dim: int = 128,
    batch_size: int = 256,
    repetitions: int = 11,
) -> None:
    """Measure a response field's memory, updates and draws as the data set grows.

    Args:
        num_samples: Numbers of samples N.
        dim: D, the size of the embeddings.
        batch_size: B, the samples of an update.
        repetitions: Number of timed passes of each kind.
    """
    from rkdo_plugin.field.benchmark import field_costs

    print(f"response field: D = {dim}, B = {batch_size}, 8 neighbours, one thread")
    print(f"medians of {repetitions} passes (exact: 3), sizes interleaved in one run")
    print(f"{'N':>10}{'MiB':>8}{'sampled ms':>12}{'exact ms':>10}{'draw ms':>9}")
    costs = field_costs(num_samples, dim, batch_size, repetitions)
    for cost in costs:
        print(
            f"{cost.num_samples:10,}{cost.mebibytes:8.0f}{cost.sampled:12.1f}"
            f"{cost.exact:10.1f}{cost.draw:9.2f}"
        )
    print(f"sampled, last / first: {costs[-1].sampled / costs[0].sampled:.2f}")


def export(
    encoders: tuple[str, ...] = ("resnet18", "resnet50"),
    image_size: int = 224,
    images: int = 8,
    repetitions: int = 11,
) -> None:
    """Time PyTorch and onnxruntime in each precision, on one thread.

    The weights are random. Each encoder's export is verified, too.

    Args:
        encoders: Registered encoders, for example timm:NAME.
        image_size: Height and width of the images in pixels.
        images: Number of images in a timed batch.
        repetitions: Number of timed batches of each kind.
    """
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


def paper(
    data: str = "cifar10",
    root: str | None = None,
    out: str | None = None,
    published: Literal["cifar10", "cifar100", "stl10"] | None = None,
    jobs: int = 1,
    restart: bool = False,
) -> None:
    """Repeat the experiment that RKDO was published with, and fill its gaps.

    ResNet-18 for 1, 2, 5 and 10 epochs of 11 batches of 64, RKDO beside I-Con, five
    seeds; with the untrained encoder, losses of test images that both are measured by,
    and tests. The same command goes on from what is there.

    Args:
        data: A data set's name, or a folder of images in classes.
        root: Folder that holds the data sets.
        out: Folder of runs.jsonl and table.md; by default runs/paper-DATA.
        published: The paper's data set whose figures stand beside ours; by default the
            data itself.
        jobs: Runs at once, each in a process of one thread.
        restart: Remove the results that are there.
    """
    from rkdo_plugin.recipes.paper.benchmark import run_paper

    folder = Path("runs", f"paper-{Path(data).name}") if out is None else Path(out)
    report = run_paper(
        data,
        folder,
        root=root,
        jobs=jobs,
        restart=restart,
        published=published,
    )
    print(report)
