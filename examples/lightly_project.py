# %% [markdown]
"""After this notebook you can change the loss of a Lightly project and add a field.

Your project here is an ordinary one: a `LightningModule` for SimCLR, Lightly's
transform, Lightly's `NTXentLoss`. You train it as it stands, then with RKDO as its
loss, then with a response field that chooses the second views. Only the Trainer's
callbacks and the data set change.

It takes 20 seconds on one core. The images are scikit-learn's digits.
"""

# %%
import logging

import numpy as np
import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rkdo_plugin import FieldCallback, FieldPairs, ResponseField, SwapLoss
from rkdo_plugin.export import Encoder
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import evaluate

# %% [markdown]
# ## Your project
#
# `images` is a map-style data set of pairs (PIL image, label). Yours may be a
# `LightlyDataset(folder)` without a transform: it works in the same places.

# %%
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
data = load_data("digits", limit=600)
images = data.train
transform = SimCLRTransform(
    input_size=28,
    cj_sat=0,  # grey images have no colours
    cj_hue=0,
    hf_prob=0,  # a mirrored digit is no digit
    gaussian_blur=0,
    min_scale=0.3,
    normalize={"mean": list(data.mean), "std": list(data.std)},
)


class SimCLR(pl.LightningModule):
    """As in Lightly's example, with a network for small grey images."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.projection_head = SimCLRProjectionHead(64, 64, 32)
        self.criterion = NTXentLoss(temperature=0.2)

    def training_step(self, batch, batch_index):
        """The loss of two views."""
        x0, x1 = batch[0]
        z0, z1 = (self.projection_head(self.backbone(x)) for x in (x0, x1))
        return self.criterion(z0, z1)

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=4e-3)


class TwoViews(Dataset):
    """Batches as `LightlyDataset` makes them: views, label, index."""

    def __len__(self):
        return len(images)

    def __getitem__(self, index):
        image, label = images[index]
        return transform(image), label, index


# %% [markdown]
# `train` differs from your own script in its arguments alone. It returns the test
# accuracy of the frozen features, by nearest neighbours and by a linear classifier.


# %%
def train(dataset, callbacks=(), epochs=4):
    """Train anew, and score the features."""
    torch.manual_seed(0)
    model = SimCLR()
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(dataset, batch_size=60, shuffle=True, drop_last=True)
    trainer.fit(model, loader)
    encoder = Encoder(model.backbone, image_size=28, mean=data.mean, std=data.std)
    return evaluate(encoder.embed, data), model


scores = {}
scores["NT-Xent, as it stands"], _ = train(TwoViews())

# %% [markdown]
# ## Another loss
#
# `SwapLoss` replaces `model.criterion` before training starts. It refuses a module
# that calls its criterion with anything but two tensors, before a weight changes. All
# names are in [the table of losses](../docs/i-con-table.md#all-losses-by-name).

# %%
scores["RKDO"], swapped = train(TwoViews(), [SwapLoss("rkdo", temperature=0.2)])
print(swapped.criterion)

# %% [markdown]
# ## A response field
#
# The field holds a row of weighted neighbours for each image. `FieldPairs` takes the
# place of the data set: the second view shows a neighbour that the row chose.
# `FieldCallback` feeds the embeddings of each step back. The first neighbours are
# those by pixels. Use your best features instead, such as those of a larger network.
#
# The field follows its neighbours as far as its own evidence goes: `trust` is 0 for
# random ones. See [response-field.md](../docs/response-field.md) for when it pays.

# %%
pixels = np.stack([np.ravel(image) for image, _ in images]).astype(np.float32)
field = ResponseField(num_samples=len(images), dim=32, coupling=0)
field.initialize(pixels - pixels.mean(axis=0))
pairs = FieldPairs(images, transform, field)
callbacks = [SwapLoss("rkdo", temperature=0.2), FieldCallback(field)]
scores["RKDO with a field"], _ = train(pairs, callbacks)
print(f"trust in the given neighbours: {field.trust:.2f}")

# %% [markdown]
# ## What came out
#
# One seed and four epochs of 600 images: a difference of a few points is chance. Train
# longer, and with three seeds, before you believe one.

# %%
for name, found in scores.items():
    print(f"{name:24} kNN {found['knn']:.4f}   linear {found['linear']:.4f}")

# %% [markdown]
# Read on: [docs/your-own-script.md](../docs/your-own-script.md) lists Lightly's
# examples that work, and what to do if your criterion has another name.
# [production.py](production.py) exports the encoder.
