"""`rkdo embed`: from images to vectors."""

from typing import Literal


def embed(
    model: str,
    source: str,
    output: str,
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    column: str | None = None,
    keep: str | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    format: Literal["parquet", "npy"] = "parquet",  # noqa: A002  # the flag's name
    part_images: int = 8192,
    draft: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    restart: bool = False,
) -> None:
    """Embed images into Parquet: a file, or a folder of parts that can be gone on with.

    Args:
        model: The ONNX file.
        source: A folder, searched recursively for images: all that Pillow opens, and
            .npy arrays. Or a .txt file with a path in each line; a .parquet file with a
            column of paths or of bytes; a .tar file in WebDataset's form, or several:
            'shards-{000..127}.tar'. Any of these by a URL, such as s3://bucket/photos.
            Or a named data set, such as cifar10:test.
        output: NAME.parquet is one file. Any other name is a folder of parts; the same
            command again goes on after those that are there.
        provider: What computes; anything but auto is an error where it does not load.
        batch_size: Images that run at once; by default 8 on a CPU, 64 on a GPU.
        workers: Processes that decode images; by default one for each core.
        column: Of a table: that of paths or bytes; by default image, path or jpg.
        keep: Columns of a table, or ends of names in tar files, that are carried along,
            such as label,split.
        dtype: Of the vectors in the table.
        format: npy makes vectors.npy and paths.parquet of the parts at the end.
        part_images: Images for each part.
        draft: Decode large JPEGs at a half, a quarter or an eighth, which is faster and
            moves embeddings a little; docs/embedding.md says how far.
        strict: Let a file that is no image, or cannot be read, be an error.
        overwrite: Replace an older file at `output`.
        restart: Remove the parts of an older job, and begin anew.
    """
    from rkdo_plugin.export import EmbeddingSession, embed_images, open_source

    kept = [] if keep is None else keep.split(",")
    images = open_source(source, column=column, keep=kept)
    # Several batches at once, each on a core, take less time than one on all cores.
    session = EmbeddingSession(model, provider, threads=1)
    print(
        embed_images(
            session,
            images,
            output,
            batch_size=batch_size,
            workers=workers,
            part_images=part_images,
            draft=draft,
            dtype=dtype,
            form=format,
            strict=strict,
            overwrite=overwrite,
            restart=restart,
        )
    )
