"""SupCon: images of one class attract each other, in any views; all others repel.

[0] Supervised contrastive learning, 2020, https://arxiv.org/abs/2004.11362
"""

from rkdo_plugin.recipes.simclr import SimCLR


class SupCon(SimCLR):
    """SimCLR with a criterion that reads the batch's labels.

    A criterion with a true attribute `reads_labels` is called as
    `criterion(z0, z1, targets=labels)`, any other as `criterion(z0, z1)`.

    Example:
        >>> create_recipe("supcon").criterion.reads_labels
        True
    """

    default_loss = "supcon"
