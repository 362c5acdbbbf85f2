"""What each row of benchmarks/gpu.py takes an H100 at least, from its published rates.

    python benchmarks/gpu_prediction.py

Every operation of PyTorch reads its inputs, writes its outputs and computes. It takes
the longer of the two: bytes over the card's bandwidth, or FLOPs over its rate. The sum
over the operations is the prediction. Nothing runs on a GPU: shapes are enough.

Left out are launches, of which each takes some microseconds, what the card's cache
holds, and the distance of real kernels from the published rates. So a measured time is
longer, most of all where there are many launches and few bytes. Writes
results/gpu-prediction.json, which gpu.py reads, and prints the table of docs/gpu.md,
with room for what is measured. Takes two minutes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gpu_export import ARITHMETIC, random_encoder
from gpu_export import SECTION as EXPORT
from gpu_field import SECTION as FIELD
from gpu_field import way
from gpu_losses import SECTION as LOSSES
from gpu_losses import one_pass
from gpu_roofline import Count, Operation, Work, through
from gpu_rows import FULL, Sizes
from gpu_training import AUGMENT, arm
from gpu_training import SECTION as TRAINING
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from rkdo_plugin import rowwise
from rkdo_plugin.export.graph.half import HalfCore
from rkdo_plugin.field import search as searches
from rkdo_plugin.field.benchmark import filled_field
from rkdo_plugin.field.search import SEARCHES
from rkdo_plugin.losses import negatives
from rkdo_plugin.losses.benchmark import CRITERIA
from rkdo_plugin.losses.recursion import Recursion
from rkdo_plugin.plugins.create import create_recipe

CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results" / "gpu-prediction.json"


@contextmanager
def as_on_a_gpu(count: Count) -> Iterator[None]:
    """Let losses compute as on a GPU: chunks as large, and RKDO's kernels of Triton."""

    def by_triton(self: Recursion, log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """What recursion_triton.py moves: it reads log s, log s and p, and writes."""
        self.p.rows(rows)
        size = log_s.numel() * log_s.element_size()
        count.operations += [Operation(times * size, 0) for times in (1, 2, 3)]
        return log_s[:, 0], log_s

    with (
        patch.object(rowwise, "CPU_CHUNK", rowwise.ACCELERATOR_CHUNK),
        patch.object(negatives, "CPU_TILES", 1),
        patch.object(Recursion, "_fits_triton", lambda *_: True),
        patch.object(Recursion, "_by_triton", by_triton),
    ):
        yield


def counted(call: Callable[[], object]) -> Count:
    """What a call does."""
    count = Count()
    with as_on_a_gpu(count), count:
        call()
    return count


def loss_work(name: str, batch: int, dim: int) -> Work:
    """A forward and backward pass in float32, embeddings ready on the card."""
    if name == "ntxent":
        # Its masks have no shape without their values. It is matrices from end to end:
        # of the second degree in B.
        small = {b: counted(one_pass(name, b, dim, CPU)).work() for b in (32, 64, 128)}
        return through(small, batch)
    with FakeTensorMode():
        return counted(one_pass(name, batch, dim, CPU)).work()


def field_work(search: str, samples: int, batch: int, dim: int) -> Work:
    """An update of a batch of rows; that of the exact search is affine in N."""
    step = max(1, searches.CHUNK // batch)
    at = (2 * step, 3 * step) if search == "exact" else (2 * step,)
    points = {}
    for size in at:
        bank = filled_field(size, dim)
        bank.search = search
        generator = torch.Generator().manual_seed(0)
        index = torch.randperm(size, generator=generator)[:batch]
        z = torch.randn(batch, dim, generator=generator)
        points[size] = counted(lambda b=bank, i=index, e=z: b.update(i, e)).work()
    return through(points, samples)


def training_work(encoder: str, image: int, batch: int) -> Work:
    """Forward and backward pass of both views in bf16; views and optimizer left out."""
    recipe: Any = create_recipe(
        "simclr", encoder=encoder, in_channels=3, image_size=image
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        views = [torch.randn(batch, 3, image, image) for _ in range(2)]

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = [recipe(view) for view in views]
            embeddings[0].float().sum().backward()
            embeddings[1].float().sum().backward()

        return counted(step).work()


def encoder_work(name: str, image: int, batch: int, arithmetic: str) -> Work:
    """A forward pass whose elementwise operations are fused into its products."""
    encoder: Any = random_encoder(name, image)
    if arithmetic in ("bf16", "fp16"):
        encoder = HalfCore(encoder)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        images = torch.zeros(batch, image, image, 3, dtype=torch.uint8)
        count = counted(lambda: encoder(images))
    return count.work("tf32" if arithmetic == "tf32" else "fp32", fused=True)


def predictions(sizes: Sizes) -> dict[tuple[str, str, str], Work]:
    """What each row takes at least, by the row's key."""
    found = {}
    for batch in sizes.loss_batches:
        for name in CRITERIA:
            found[LOSSES, name, f"B = {batch}"] = loss_work(name, batch, sizes.dim)
    for samples in sizes.field_samples:
        for search in SEARCHES:
            found[FIELD, way(search), f"N = {samples:,}"] = field_work(
                search, samples, sizes.field_batch, sizes.dim
            )
    step = training_work(
        sizes.training_encoder, sizes.training_image, sizes.training_batch
    )
    size = f"{sizes.training_encoder}, B = {sizes.training_batch}"
    for views in AUGMENT.values():
        for start in (None, "one-hot"):
            found[TRAINING, arm(views, start), size] = step
    for name in sizes.encoders:
        for batch in sizes.encoder_batches:
            works = {
                arithmetic: encoder_work(name, sizes.encoder_image, batch, arithmetic)
                for arithmetic in dict.fromkeys(ARITHMETIC.values())
            }
            for each, arithmetic in ARITHMETIC.items():
                found[EXPORT, each, f"{name}, B = {batch}"] = works[arithmetic]
    return found


def table(works: Mapping[tuple[str, str, str], Work]) -> str:
    """The table of docs/gpu.md: predictions, and room for what is measured.

    What takes the same work is in one line.
    """
    lines = [
        "| Section | What | Size | Launches | GB | GFLOP | H100 at best, ms | "
        "Measured, ms |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for (section, what, size), work in works.items():
        figures = (
            f"{work.launches:,.0f}",
            rounded(work.bytes / 1e9),
            rounded(work.flops / 1e9),
            rounded(1000 * work.seconds),
        )
        if section == TRAINING:
            what = "a step"
        if section == EXPORT:
            what = ARITHMETIC[what].replace("tf32", "TF32")
            what = "bf16, fp16" if "16" in what else what
        line = f"| {' | '.join([section, what, size, *figures])} | |"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def rounded(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def saved() -> dict[tuple[str, str, str], Work]:
    """What `main` wrote."""
    return {
        tuple(each["key"]): Work(*each["work"])
        for each in json.loads(RESULTS.read_text())
    }


def main() -> None:
    """Predict every row, write that down, and print the table."""
    works = predictions(FULL)
    lines = [json.dumps({"key": key, "work": w.parts}) for key, w in works.items()]
    RESULTS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(table(works))


if __name__ == "__main__":
    main()
