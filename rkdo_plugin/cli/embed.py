"""`rkdo embed`: from images to vectors."""

import os
import re
from contextlib import ExitStack
from typing import Literal

NAMED_DATA = re.compile(r"[a-z0-9-]+:(train|test)")


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
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
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
        batch_size: Images that run at once; by default 4 on a CPU, 64 on a GPU.
        workers: Processes that decode images; by default as many as keep the model
            busy. With Ray: actors that embed; by default one for each CPU or GPU of
            the cluster.
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
        engine: Where images are embedded: local is this machine, ray is a cluster of
            Ray. A job that was begun with one goes on with the other.
        ray_address: The cluster: HOST:PORT, or auto for the one that this machine
            belongs to. By default a cluster of this machine alone is started.
    """
    # Arrow's own allocator keeps all that writing has ever needed, 40 MiB and more.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from rkdo_plugin.export import (
        EmbeddingSession,
        RaySession,
        Source,
        embed_images,
        open_source,
    )

    if ray_address is not None and engine != "ray":
        raise ValueError(
            f"Expected `engine` to be ray with `ray_address` but got {engine}"
        )
    kept = [] if keep is None else keep.split(",")
    images: Source
    if NAMED_DATA.fullmatch(source) and column is None:
        from rkdo_plugin.recipes.data.source import NamedData  # it loads torch

        images = NamedData(source, kept)
    else:
        images = open_source(source, column=column, keep=kept)
    with ExitStack() as closing:
        session: EmbeddingSession | RaySession
        if engine == "ray":
            session = RaySession(model, provider, address=ray_address)
            closing.enter_context(session)
        else:
            # Batches on a core each take less time than one on all cores.
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
