"""Barlow Twins: embeddings of two views agree, and their components do not.

[0] Barlow Twins, 2021, https://arxiv.org/abs/2103.03230
"""

from lightly.models.modules.heads import BarlowTwinsProjectionHead

from rkdo_plugin.recipes.simclr import SimCLR
from rkdo_plugin.recipes.views.transforms import BYOLViews


class BarlowTwins(SimCLR):
    """SimCLR's step with a criterion that reads the correlations (D, D) of embeddings.

    Example:
        >>> recipe = create_recipe("barlowtwins")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """

    default_loss = "barlowtwins"
    transform = BYOLViews
    head = BarlowTwinsProjectionHead
    hidden_dim = output_dim = 512
