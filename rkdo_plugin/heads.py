"""Loss heads: a projection with the criterion that reads it."""

from torch import Tensor, nn

from rkdo_plugin.options import check_type


class LossHead(nn.Module):
    """A projection and the criterion on what it projects.

        loss = criterion(projection(f0), projection(f1), targets)

    Args:
        projection: From features (B, F) to embeddings (B, D), for example one of
            `lightly.models.modules.heads`.
        criterion: Called as `criterion(z0, z1)`, with `targets` if they are given.

    Example:
        >>> head = LossHead(nn.Linear(32, 8), IConLoss(temperature=0.2))
        >>> head(torch.randn(16, 32), torch.randn(16, 32)).shape
        torch.Size([])
    """

    def __init__(self, projection: nn.Module, criterion: nn.Module) -> None:
        super().__init__()
        check_type("projection", projection, nn.Module)
        check_type("criterion", criterion, nn.Module)
        self.projection = projection
        self.criterion = criterion

    @property
    def reads_labels(self) -> bool:
        """Whether the criterion reads the samples' labels as `targets`."""
        return bool(getattr(self.criterion, "reads_labels", False))

    def forward(
        self, f0: Tensor, f1: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """The loss (scalar) of features.

        Args:
            f0: Features (B, F) of the first view.
            f1: Features (B, F) of the second view. Leave it out for a criterion that
                reads one view.
            targets: What the criterion reads besides embeddings, such as labels (B,).
        """
        views = [self.projection(f) for f in (f0, f1) if f is not None]
        more = {} if targets is None else {"targets": targets}
        loss: Tensor = self.criterion(*views, **more)
        return loss
