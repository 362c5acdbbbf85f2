# %% [markdown]
"""After this notebook you can put a trained encoder into production.

You export it as one ONNX file, verify the file against PyTorch, embed a folder of
images with it, find the neighbours of an image, and notice when the images change.
Each step is a function here, and a command of `rkdo`, which is named beside it.

It takes 20 seconds on one core. The images are scikit-learn's digits.
"""

# %%
import tempfile
from pathlib import Path

from PIL import Image

from rkdo_plugin.export import (
    EmbeddingSession,
    drift,
    embed_folder,
    export_onnx,
    freeze,
    neighbours,
    read_vectors,
    verify,
    write_sheet,
)
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

# %% [markdown]
# ## An encoder and a folder of images
#
# `rkdo train --epochs 4 --batch-size 128 --augment batches --out run`
#
# You have an encoder already. `freeze` also reads checkpoints of Lightly, MoCo, DINO
# and timm: give it the network and the preprocessing, as
# [export_encoder.py](export_encoder.py) does. A network in memory goes into
# `rkdo_plugin.export.Encoder`.

# %%
here = Path(tempfile.mkdtemp(prefix="production-"))  # of all files of this page
settings = RunSettings(epochs=4, batch_size=128, augment="batches")
run = train(settings, here / "run", Execution(workers=0, progress=False))
encoder = freeze(run.checkpoint)

folder = here / "images"
folder.mkdir()
for number, (image, label) in enumerate(load_data("digits").test):
    image.save(folder / f"{label}-{number:03}.png")

# %% [markdown]
# ## Export
#
# `rkdo export run encoder.onnx`
#
# The file takes uint8 images (B, H, W, C). Scaling, normalisation and the division by
# the norm are inside. It appears only if it computes what PyTorch computes.

# %%
model = here / "encoder.onnx"
print(export_onnx(encoder, model))

# %% [markdown]
# ## Verify
#
# `rkdo verify encoder.onnx --checkpoint run --data digits`
#
# Do this on the machine that will serve, with images like those it will see. A report
# that did not pass says why.

# %%
images, labels = as_arrays(load_data("digits").test, encoder.image_size)
report = verify(model, encoder, images, labels)
print(report)
assert report.passed

# %% [markdown]
# ## Embed
#
# `rkdo embed encoder.onnx images vectors.parquet`
#
# `EmbeddingSession` takes CUDA where it loads, and else the CPU. From here on nothing
# needs torch. [embedding.md](../docs/embedding.md) has tables, tar files, URLs, many
# machines and restarts.

# %%
session = EmbeddingSession(model)
print(embed_folder(session, folder, here / "vectors.parquet"))
vectors = read_vectors(here / "vectors.parquet")
print(f"{len(vectors)} vectors of {vectors.dim} numbers")

# %% [markdown]
# ## Neighbours
#
# `rkdo neighbours vectors.parquet 0-006.png --images images --out sheet`
#
# `write_sheet` makes a page that shows the images. A query may also be a file that was
# never embedded: give `model`.

# %%
queries = [vectors.key(0), vectors.key(len(vectors) - 1)]
found = neighbours(vectors, queries, count=5)
print(found)
print(*write_sheet(found, folder, here / "sheet"))

# %% [markdown]
# ## Watch
#
# `rkdo drift vectors.parquet today.parquet`
#
# Embed what arrives, and compare it with what you verified on. Here the images of
# today are darker. A small p says that the difference is no chance, not that it is
# large: [vectors.md](../docs/vectors.md#drift).

# %%
dark = here / "dark"
dark.mkdir()
for path in folder.iterdir():
    Image.open(path).point(lambda value: value // 2).save(dark / path.name)
embed_folder(session, dark, here / "today.parquet")
changed = drift(vectors, here / "today.parquet")
print(changed)

# %% [markdown]
# Read on: [docs/serving.md](../docs/serving.md) answers requests,
# [docs/export.md](../docs/export.md) makes int8 and fp16 files and a Triton repository.
