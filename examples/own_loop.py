# %% [markdown]
"""After this notebook you can train with these losses in a PyTorch loop of your own.

There is no Trainer, no recipe and no callback: a network, an optimizer and a loop. You
add the loss first and the response field second. You then measure the features, with
labels and without, and save what a later run needs.

It takes 15 seconds on one core. The images are scikit-learn's digits.
"""

# %%
import torch
from torch import nn
from torch.nn import functional

from rkdo_plugin import ResponseField, RKDOLoss
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.evaluation.measures import rank_me, uniformity

# %% [markdown]
# ## Images, views and a network
#
# All of this is yours: replace it by what you have. The loss needs two tensors of
# embeddings (B, D). The field needs the number of each image, from 0 to N - 1.

# %%
data = load_data("digits")
(train_images, train_labels), (test_images, test_labels) = (
    as_arrays(part, data.image_size) for part in (data.train, data.test)
)
train, test = (
    torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    for images in (train_images, test_images)
)


def view(images):
    """Images (B, C, H, W), each enlarged and shifted by itself, with some noise."""
    place = torch.zeros(len(images), 2, 3)
    place[:, 0, 0] = place[:, 1, 1] = 1 - 0.3 * torch.rand(len(images))
    place[:, :, 2] = 0.4 * torch.rand(len(images), 2) - 0.2
    grid = functional.affine_grid(place, images.shape, align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    return moved + 0.1 * torch.randn_like(moved)


class Network(nn.Module):
    """A backbone, whose features you keep, and a head, which you drop afterwards."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        )
        self.head = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 32))

    def forward(self, images):
        """Embeddings (B, 32)."""
        return self.head(self.backbone(images))


# %% [markdown]
# ## The loop
#
# The loss is one line. The field is three, marked with `# field`:
#
# * before a step, `sample` draws a partner for each image; the second view shows it;
# * after the step, `update` takes the embeddings of both;
# * `follow` keeps the first epoch free of other partners: embeddings mean nothing yet.


# %%
def fit(field, epochs=8, batch_size=128):
    """Train a new network."""
    torch.manual_seed(0)
    network, criterion = Network(), RKDOLoss(temperature=0.2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for epoch in range(epochs):
        field.follow(warming_up=epoch == 0)  # field
        for index in torch.randperm(len(train)).split(batch_size):
            partner = field.sample(index)  # field
            z0, z1 = network(view(train[index])), network(view(train[partner]))
            loss = criterion(z0, z1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            field.update(torch.cat([index, partner]), torch.cat([z0, z1]))  # field
        print(f"epoch {epoch + 1}, loss {loss.item():.4f}")
    return network.eval()


# %% [markdown]
# A field that was given no neighbours leaves each image its own partner. So this is
# plain training, with two views of the same image:

# %%
nothing = ResponseField(num_samples=len(train), dim=32, coupling=0)
plain = fit(nothing)

# %% [markdown]
# Now the field starts from the nearest images by some features. Pixels do for digits.
# For photographs take a descriptor or a trained network:
# [response-field.md](../docs/response-field.md#should-you-use-it).

# %%
field = ResponseField(num_samples=len(train), dim=32, coupling=0)
pixels = train.flatten(start_dim=1)
field.initialize(pixels - pixels.mean(dim=0))
with_field = fit(field)
print(f"trust in the given neighbours: {field.trust:.2f}")

# %% [markdown]
# ## What the features are worth
#
# kNN accuracy needs labels. RankMe and uniformity do not, and say less: they notice a
# collapse, and do not find the better of two good encoders.
# [evaluation.md](../docs/evaluation.md) tells what each may be used for.

# %%
scores = {}
for name, network in {"RKDO": plain, "RKDO with a field": with_field}.items():
    with torch.no_grad():
        features, others = (network.backbone(x).numpy() for x in (train, test))
    scores[name] = {
        "knn": knn_accuracy(features, train_labels, others, test_labels),
        "rank_me": rank_me(features),
        "uniformity": uniformity(features),
    }
    print(name, {key: round(value, 4) for key, value in scores[name].items()})

# %% [markdown]
# One seed: a difference of a point or two may be chance.
#
# ## Save it
#
# The field is a module: its rows and embeddings are in its `state_dict`. The backbone
# alone is what [production.py](production.py) exports.

# %%
torch.save({"network": with_field.state_dict(), "field": field.state_dict()}, "own.pt")
saved = torch.load("own.pt", weights_only=True)
again = ResponseField(num_samples=len(train), dim=32, coupling=0)
again.load_state_dict(saved["field"])
assert torch.equal(again.ids, field.ids)
