"""`rkdo export`, `rkdo verify` and `rkdo triton`."""

from pathlib import Path
from typing import Any, Literal


def export(
    checkpoint: str,
    output: str,
    exporter: str = "onnx",
    precision: Literal["fp32", "fp16", "int8", "int8-dynamic"] = "fp32",
    calibration: str | None = None,
    backbone: str | None = None,
    branch: str | None = None,
    image_size: int | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    data: str | None = None,
    root: str | None = None,
    any_size: bool = False,
    triton: str | None = None,
    resize: bool = False,
    signer: str | None = None,
    overwrite: bool = False,
) -> None:
    """Freeze a checkpoint's encoder into one verified file.

    Args:
        checkpoint: A run folder or a Lightning checkpoint.
        output: The file to write; it appears only if it passes verification.
        exporter: A registered exporter.
        precision: fp32; fp16, for GPUs; int8, for convolutional networks on
            CPUs; int8-dynamic, for vision transformers there.
        calibration: int8: a data set's name or a folder of real images, of which 256
            show the range of activations; by default the data verified on.
        backbone: A foreign checkpoint's encoder, for example resnet18.
        branch: Where in a foreign checkpoint it is, where names do not tell.
        image_size: A foreign encoder's image size in pixels.
        mean: A foreign encoder's mean of each channel.
        std: A foreign encoder's standard deviation of each channel.
        data: Verify on these images; by default those the run was trained on.
        root: Folder that holds the data sets.
        any_size: Take images of any height and width, where the encoder does.
        triton: Add the file to this Triton repository too, under the name of `output`;
            `rkdo triton` has options.
        resize: Let the graph resize images of any size; not for TensorRT.
        signer: A registered signer, which signs the manifest.
        overwrite: Replace an older file at `output`.
    """
    from rkdo_plugin.export.serving.triton.config import require_name
    from rkdo_plugin.plugins.host import host
    from rkdo_plugin.recipes.evaluation import model as features

    if triton is not None:
        require_name(Path(output).stem)
    encoder, named = _encoder(
        checkpoint, backbone, branch, image_size, mean, std, any_size
    )
    name = data or named
    options: dict[str, Any] = {}
    if precision == "int8":
        shown = calibration or name
        if shown is None:
            raise ValueError("Expected --calibration, real images, for precision int8")
        options["calibration"] = features.calibration_images(shown, root, encoder)
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
        images = features.parity_images(
            name, root, encoder, integers=precision.startswith("int8")
        )
    write = host().factory("exporter", exporter)
    signing = None if signer is None else host().factory("signer", signer)()
    print(write(encoder, output, overwrite=overwrite, images=images, **options))
    print(f"exported: {output}")
    if signing is not None:
        from rkdo_plugin.export import sign

        print(f"signed: {sign(output, signing)}")
    if triton is not None:
        from rkdo_plugin.export import write_triton_repository

        print(write_triton_repository(output, triton, name=Path(output).stem))


def verify(
    model: str,
    data: str | None = None,
    checkpoint: str | None = None,
    limit: int = 1000,
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu",
    signer: str | None = None,
    out: str | None = None,
    backbone: str | None = None,
    branch: str | None = None,
    image_size: int | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    root: str | None = None,
) -> None:
    """Hold an exported file to what it was made from; store a report and a model card.

    Args:
        model: The ONNX file.
        data: Compare on this data set or folder of images, with its classes if it has
            any; by default the images the checkpoint was trained on.
        checkpoint: A run folder, a Lightning checkpoint, or an ONNX file to compare
            with, such as the same encoder's in float32; by default the file itself on
            the CPU, without onnxruntime's optimisations.
        limit: Compare at most so many images, spread evenly over the data.
        provider: What runs the file.
        signer: A registered signer, which checks the signature first.
        out: Folder of NAME.report.json and NAME.card.html; by default the model's.
        backbone: A foreign checkpoint's encoder, for example resnet18.
        branch: Where in a foreign checkpoint it is, where names do not tell.
        image_size: A foreign encoder's image size in pixels.
        mean: A foreign encoder's mean of each channel.
        std: A foreign encoder's standard deviation of each channel.
        root: Folder that holds the data sets.
    """
    from rkdo_plugin.export import CPUSettings, EmbeddingSession, ParityError, verify
    from rkdo_plugin.export.verification.card import require_places, store
    from rkdo_plugin.recipes.evaluation import model as features

    folder = None if out is None else Path(out)
    require_places(Path(model), folder)
    if signer is not None:
        from rkdo_plugin.export import check_signature
        from rkdo_plugin.plugins.host import host

        check_signature(model, host().factory("signer", signer)())
    named = None
    reference: Any
    if checkpoint is None or checkpoint.endswith(".onnx"):
        foreign = {
            "--backbone": backbone,
            "--branch": branch,
            "--image_size": image_size,
            "--mean": mean,
            "--std": std,
        }
        for option, value in foreign.items():
            if value is not None:
                raise ValueError(
                    f"Expected a foreign encoder's --checkpoint beside {option} but "
                    f"got {checkpoint}"
                )
        plain = CPUSettings(optimize=False)
        reference = EmbeddingSession(checkpoint or model, "cpu", plain)
    else:
        reference, named = _encoder(checkpoint, backbone, branch, image_size, mean, std)
    name, images, labels = data or named, None, None
    if name is None:
        print("generated images: no --data")
    else:
        images, labels = features.labelled_images(name, root, reference, limit)
    report = verify(model, reference, images, labels, provider=provider)
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
        name: The model's name there; by default the file's.
        max_batch_size: Images in one run, at most.
        batches: Batch sizes expected: preferred, and run once before the first request.
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


def _encoder(
    checkpoint: str,
    backbone: str | None,
    branch: str | None,
    image_size: int | None,
    mean: list[float] | None,
    std: list[float] | None,
    any_size: bool = False,
) -> tuple[Any, str | None]:
    """The encoder of a checkpoint, and the name of the data it was trained on."""
    from rkdo_plugin.export import freeze
    from rkdo_plugin.recipes.evaluation import model as features

    path = features.checkpoint_of(Path(checkpoint))
    encoder = freeze(
        path,
        backbone,
        image_size=image_size,
        mean=mean,
        std=std,
        branch=branch,
        any_size=any_size,
    )
    return encoder, features.recorded_data(path)
