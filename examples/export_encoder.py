"""From a checkpoint to one verified ONNX file, and from a folder to vectors.

    python examples/export_encoder.py CHECKPOINT FOLDER_OF_IMAGES

The checkpoint is one of swap_loss.py, or of any of Lightly's ResNet-18 examples. The
file takes uint8 images (B, H, W, C): scaling, normalisation and L2 are inside.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from lightly.transforms.utils import IMAGENET_NORMALIZE
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin.export import EmbeddingSession, embed_folder, export_onnx, freeze


def main(checkpoint, folder, output="."):
    """Export, embed, and return the nearest neighbour of each image."""
    encoder = freeze(checkpoint, "resnet18", image_size=32, **IMAGENET_NORMALIZE)
    model = Path(output, "encoder.onnx")
    print(export_onnx(encoder, model, overwrite=True))

    session = EmbeddingSession(model)  # CUDA where it loads, else the CPU
    vectors = Path(output, "vectors.parquet")
    print(embed_folder(session, folder, vectors, overwrite=True))

    table = pq.read_table(vectors)
    paths, embeddings = table["path"].to_pylist(), np.stack(table["vector"].to_numpy())
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(embeddings)
    nearest = search.kneighbors(return_distance=False)[:, 0]
    return {path: paths[other] for path, other in zip(paths, nearest, strict=True)}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/export_encoder.py CHECKPOINT FOLDER_OF_IMAGES")
    for image, neighbour in main(*sys.argv[1:]).items():
        print(f"{image} is nearest to {neighbour}")
