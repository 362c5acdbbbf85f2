import torch
from recipe_steps import LABELS, VIEWS, Scaled
from torch.nn import functional

from rkdo_plugin.plugins.create import create_recipe


def test_simclr_reads_two_views():
    criterion = Scaled()
    recipe = create_recipe("simclr", loss=criterion).eval()
    recipe.log = lambda *args, **kwargs: None
    loss = recipe.training_step([VIEWS, LABELS], 0)
    embeddings = [recipe.projection_head(recipe.backbone(view)) for view in VIEWS]
    torch.testing.assert_close(loss, functional.mse_loss(*embeddings))
    assert all(z.requires_grad for z in criterion.calls[0])
