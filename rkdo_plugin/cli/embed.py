"""`rkdo embed`: from images to vectors."""

from typing import Literal


def embed(
    model: str,
    folder: str,
    output: str,
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto",
    batch_size: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> None:
    """Embed a folder of images into a Parquet file of paths and vectors.

    Args:
        model: The ONNX file.
        folder: Searched recursively for images: all that Pillow opens, and .npy arrays.
        output: The Parquet file to write.
        provider: What computes; anything but auto is an error where it does not load.
        batch_size: Images in memory at a time; by default 8 on a CPU, 64 on a GPU.
        strict: Let a file that is no image, or cannot be read, be an error.
        overwrite: Replace an older file at `output`.
    """
    from rkdo_plugin.export import EmbeddingSession, embed_folder

    session = EmbeddingSession(model, provider)
    print(
        embed_folder(
            session,
            folder,
            output,
            batch_size=batch_size,
            strict=strict,
            overwrite=overwrite,
        )
    )
