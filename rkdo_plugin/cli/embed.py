"""`rkdo embed`: from images to vectors."""

from typing import Literal


def embed(
    model: str,
    folder: str,
    output: str,
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto",
    batch_size: int = 64,
    overwrite: bool = False,
) -> None:
    """Embed a folder of images into a Parquet file of paths and vectors.

    Args:
        model: The ONNX file.
        folder: Searched recursively for images.
        output: The Parquet file to write.
        provider: What computes; anything but auto is an error where it does not load.
        batch_size: Images in memory at a time.
        overwrite: Replace an older file at `output`.
    """
    from rkdo_plugin.export import EmbeddingSession, embed_folder

    session = EmbeddingSession(model, provider)
    print(
        embed_folder(
            session, folder, output, batch_size=batch_size, overwrite=overwrite
        )
    )
