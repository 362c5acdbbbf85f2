"""VICReg: variance, invariance and covariance of the embeddings of two views.

[0] VICReg, 2022, https://arxiv.org/abs/2105.04906
"""

from lightly.models.modules.heads import VICRegProjectionHead
from lightly.transforms.vicreg_transform import VICRegTransform

from rkdo_plugin.recipes.simclr import SimCLR


class VICReg(SimCLR):
    """SimCLR's step with a criterion that reads the covariances (D, D) of embeddings.

    Example:
        >>> recipe = create_recipe("vicreg")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """

    default_loss = "vicreg-covariance"
    transform = VICRegTransform
    head = VICRegProjectionHead
    hidden_dim = output_dim = 512
