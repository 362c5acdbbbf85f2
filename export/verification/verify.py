"""The parity gate: does an exported file compute what its encoder computes?"""

from pathlib import Path

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.model_file import ModelFile, read_model
from rkdo_plugin.export.runtime.settings import Provider
from rkdo_plugin.export.verification.distances import Labels
from rkdo_plugin.export.verification.judge import Judge, known_of
from rkdo_plugin.export.verification.report import Report


def verify(
    path: str | Path,
    encoder: ImageEmbedder,
    images: UInt8Array | None = None,
    labels: Labels | None = None,
    *,
    provider: Provider = "cpu",
) -> Report:
    """Compare an exported file with the encoder that it was made from.

    Both run on batches of 1, 2, 7 and 33 images, then of 64. If both accept images of
    any size, the first batches have other shapes. The gate depends on the file's
    precision:

    * fp32: max |difference| <= 1e-5 and 1 - cosine <= 1e-9.
    * fp16: 1 - cosine <= 1e-5.
    * int8 and int8-dynamic: cosine at least .9995 in the mean and .998 for the worst
      image, at least .94 of the ten nearest neighbours kept, and at most half a point
      of their accuracy lost. Neighbours count from twenty images on.

    Norms must be 1 within 1e-6, and every component must be finite. If the encoder does
    not normalise, the largest difference over the largest component replaces cosines
    and norms.

    Args:
        path: The exported file.
        encoder: The reference: the encoder, or a session with a file that you trust,
            such as the same encoder's in float32.
        images: Real images, uint8 (N, H, W, C). Fewer than 43 are repeated. None:
            pictures are generated.
        labels: Classes of the images (N,). None: there are none.
        provider: The provider that runs the file: "cpu", "cuda" or "tensorrt".

    Returns:
        The figures. `passed` is False, with the reasons in `failures`, if a bound does
        not hold or the file cannot be loaded or run.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The provider did not load.
        TypeError: The images are not uint8.
        ValueError: The images do not have the encoder's shape, there are none, or there
            is not one label for each image.
    """
    path = Path(path)
    try:
        model = read_model(path)
    except ValueError as error:
        unreadable = ModelFile(path.name, path.read_bytes(), metadata={})
        return Report(**known_of(unreadable, encoder), failures=(str(error),))
    return Judge(encoder, images, labels).report(model, provider)
