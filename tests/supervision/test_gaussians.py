"""A perplexity that there is not."""

import pytest
import torch

from rkdo_plugin import create_loss

Z = torch.randn(8, 3, generator=torch.manual_seed(0))
X = torch.randn(8, 5, generator=torch.manual_seed(1))


@pytest.mark.parametrize("perplexity", [1.0, 7.0, 8.0, 30.0])
def test_a_perplexity_that_the_batch_does_not_allow_is_refused(perplexity):
    message = rf"above 1 and below the number of candidates, 7, but got {perplexity:g}"
    with pytest.raises(ValueError, match=message):
        create_loss("t-sne", perplexity=perplexity)(Z, targets=X)
