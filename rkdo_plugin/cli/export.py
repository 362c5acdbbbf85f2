"""`rkdo export`, `rkdo verify` and `rkdo triton`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rkdo_plugin.export import Encoder, ImageEmbedder


@dataclass(frozen=True)
class ForeignEncoder:
    """What a checkpoint does not record if `rkdo train` did not write it.

    Args:
        backbone: The encoder, for example resnet18.
        branch: Where in the checkpoint the encoder is, if names do not tell.
        image_size: Height and width of the images in pixels, as 224 or 256x128.
        mean: Mean of each channel on the scale from 0 to 1, as 0.485 0.456 0.406.
        std: Standard deviation of each channel, on the same scale.
    """

    backbone: str | None = None
    branch: str | None = None
    image_size: int | str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


def export(
    checkpoint: str,
    output: str,
    foreign: ForeignEncoder,
    exporter: str = "onnx",
    precision: Literal[
        "fp32", "fp16", "int8", "int8-dynamic", "int8-tensorrt"
    ] = "fp32",
    calibration: str | None = None,
    data: str | None = None,
    root: str | None = None,
    seed: int = 0,
    any_size: bool = False,
    triton: str | None = None,
    resize: bool = False,
    signer: str | None = None,
    overwrite: bool = False,
) -> None:
    """Freeze a checkpoint's encoder into one verified file.

    Args:
        checkpoint: A run folder or a checkpoint.
        output: The file to write; it appears only if it passes verification.
        foreign: For checkpoints that `rkdo train` did not write.
        exporter: A registered exporter.
        precision: fp32; fp16, for GPUs; int8, for CPUs; int8-dynamic, for vision
            transformers on CPUs; int8-tensorrt, for TensorRT.
        calibration: For int8 and int8-tensorrt: a data set's name or a folder of real
            images, of which 256 show the range of activations; the data verified on by
            default.
        data: Verify on these images; by default those that the run was trained on.
        root: Folder that holds the data sets.
        seed: Seed of the draw of these images, and of those for calibration.
        any_size: Take images of any height and width, where the encoder does.
        triton: Add the file to this Triton repository, too, under the name of the
            output file; `rkdo triton` has options.
        resize: Let the graph resize images of any size; not for TensorRT.
        signer: A registered signer, which signs the manifest.
        overwrite: Replace an older output file.
    """
    from rkdo_plugin.export import sign, write_triton_repository
    from rkdo_plugin.export.file.metadata import CALIBRATED
    from rkdo_plugin.export.serving.triton.config import require_name
    from rkdo_plugin.plugins.host import host
    from rkdo_plugin.recipes.data import spread

    if triton is not None:
        require_name(Path(output).stem)
    encoder, trained_on = _encoder(checkpoint, foreign, any_size)
    name = data or trained_on
    options: dict[str, Any] = {}
    if precision in CALIBRATED:
        shown = calibration or name
        if shown is None:
            raise ValueError(
                f"Expected --calibration, real images, for precision {precision}"
            )
        options["calibration"] = spread.calibration_images(shown, root, encoder, seed)
    elif calibration is not None:
        raise ValueError(f"Expected no --calibration for precision {precision}")
    if precision != "fp32":
        options["precision"] = precision
    if resize:
        options["resize"] = True
    images = None
    if name is None:
        print("generated images: the checkpoint records no data, and --data is not set")
    else:
        integers = precision.startswith("int8")
        images = spread.parity_images(name, root, encoder, seed, integers=integers)
    write = host().factory("exporter", exporter)
    signing = None if signer is None else host().factory("signer", signer)()
    print(write(encoder, output, overwrite=overwrite, images=images, **options))
    print(f"exported: {output}")
    if signing is not None:
        print(f"signed: {sign(output, signing)}")
    if triton is not None:
        print(write_triton_repository(output, triton, name=Path(output).stem))


def verify(
    model: str,
    foreign: ForeignEncoder,
    data: str | None = None,
    checkpoint: str | None = None,
    limit: int = 1000,
    seed: int = 0,
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu",
    signer: str | None = None,
    out: str | None = None,
    root: str | None = None,
) -> None:
    """Compare an exported file with its encoder; store a report and a model card.

    Args:
        model: The ONNX file.
        foreign: For a checkpoint that `rkdo train` did not write.
        data: Compare on this data set or folder of images, with its classes if it has
            any; by default on the images that the checkpoint was trained on.
        checkpoint: A run folder, a checkpoint, or an ONNX file to compare with, such as
            the same encoder's in float32; by default the file itself on the CPU,
            without onnxruntime's optimisations.
        limit: Compare at most LIMIT images, drawn evenly from all classes.
        seed: Seed of that draw.
        provider: What runs the file.
        signer: A registered signer, which checks the signature first.
        out: Folder of NAME.report.json and NAME.card.html; the model's by default.
        root: Folder that holds the data sets.
    """
    from rkdo_plugin.export import ParityError, check_signature, verify
    from rkdo_plugin.export.verification.card import require_places, store
    from rkdo_plugin.plugins.host import host
    from rkdo_plugin.recipes.data import spread

    folder = None if out is None else Path(out)
    require_places(Path(model), folder)
    if signer is not None:
        check_signature(model, host().factory("signer", signer)())
    reference, trained_on = _reference(model, checkpoint, foreign)
    name, images, labels = data or trained_on, None, None
    if name is None:
        print("generated images: no --data")
    else:
        images, labels = spread.labelled_images(name, root, reference, limit, seed)
    report = verify(model, reference, images, labels, provider=provider)
    if not report.images:  # an older report says more than this one
        raise ParityError(report)
    stored = store(Path(model), report, images, folder)
    print(*(f"stored: {path}" for path in stored), sep="\n")
    if not report.passed:
        raise ParityError(report)
    print(report)


def triton(
    model: str,
    repository: str,
    name: str | None = None,
    max_batch_size: int = 256,
    batches: tuple[int, ...] = (1, 8, 32),
    max_queue_delay_microseconds: int = 1000,
    device: Literal["gpu", "cpu"] = "gpu",
    instances: int = 1,
    tensorrt: bool = False,
    serve_versions: int = 1,
) -> None:
    """Add an exported file to a Triton repository, as a version beside the others.

    Args:
        model: The ONNX file.
        repository: The folder that Triton is started on; made if missing.
        name: The model's name there; the file's by default.
        max_batch_size: Largest number of images in one run.
        batches: Expected batch sizes. The server prefers them, and runs each of them
            before the first request.
        max_queue_delay_microseconds: How long an image may wait for others.
        device: What runs the model.
        instances: Copies of the model on each GPU, or on the CPU.
        tensorrt: Let TensorRT run it; each start of the server builds an engine.
        serve_versions: How many of the newest versions are served.
    """
    from rkdo_plugin.export import write_triton_repository

    version = write_triton_repository(
        model,
        repository,
        name=Path(model).stem if name is None else name,
        max_batch_size=max_batch_size,
        batches=batches,
        max_queue_delay_microseconds=max_queue_delay_microseconds,
        device=device,
        instances=instances,
        tensorrt=tensorrt,
        serve_versions=serve_versions,
    )
    print(version)


def _reference(
    model: str, checkpoint: str | None, foreign: ForeignEncoder
) -> "tuple[ImageEmbedder, str | None]":
    """What a file is compared with, and the name of the data it was trained on."""
    from rkdo_plugin.export import CPUSettings, EmbeddingSession

    if checkpoint is not None and not checkpoint.endswith(".onnx"):
        return _encoder(checkpoint, foreign)
    for option, value in asdict(foreign).items():
        if value is not None:
            raise ValueError(
                f"Expected a foreign encoder's --checkpoint beside "
                f"--{option.replace('_', '-')} but got {checkpoint}"
            )
    return EmbeddingSession(checkpoint or model, CPUSettings(optimize=False)), None


def _encoder(
    checkpoint: str, foreign: ForeignEncoder, any_size: bool = False
) -> "tuple[Encoder, str | None]":
    """The encoder of a checkpoint, and the name of the data it was trained on."""
    from rkdo_plugin.export import freeze
    from rkdo_plugin.export.encoder.checkpoint import read_weights
    from rkdo_plugin.export.encoder.image_size import (
        as_image_size,
        optional_image_size,
        written,
    )
    from rkdo_plugin.recipes.evaluation.run_folder import checkpoint_of

    read = read_weights(checkpoint_of(Path(checkpoint)))
    options = asdict(foreign)
    size = optional_image_size(options.pop("image_size"))
    recorded = read.record.get("image_size")
    if size is not None and recorded is not None and size != as_image_size(recorded):
        print(
            f"image size {written(size)} instead of {written(as_image_size(recorded))},"
            " which the checkpoint records"
        )
    encoder = freeze(read, **options, image_size=size, any_size=any_size)
    return encoder, read.record.get("data")
